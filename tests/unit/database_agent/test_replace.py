"""One attempt: every way in which it must end with the lock in place, and the one in which it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from unit.database_agent.doubles import MAPS, FakeApi, FakeVoters

from okitoki_agents.database.decisions import Position
from okitoki_agents.database.peers import Answer
from okitoki_agents.database.replace import Replacement
from okitoki_agents.database.store import PatroniStore, parse
from okitoki_agents.kube import ApiClient, ApiError


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def voters() -> FakeVoters:
    return FakeVoters()


def replacement(api: FakeApi, voters: FakeVoters) -> Replacement:
    return Replacement("postgres-1", PatroniStore(cast(ApiClient, api), "tenant-acme"), voters)


async def attempt(api: FakeApi, voters: FakeVoters) -> str | None:
    return await replacement(api, voters).attempt(parse(api.maps()), "10.0.0.1")


def leader(api: FakeApi) -> str | None:
    return api.annotations(f"{MAPS}/postgres-leader").get("leader")


async def test_when_all_voters_have_cut_the_one_that_has_most_gets_the_lock(api: FakeApi, voters: FakeVoters) -> None:
    voters.positions["postgres-2"] = Position(1, 501)
    assert await attempt(api, voters)
    lock = api.annotations(f"{MAPS}/postgres-leader")
    assert lock["leader"] == "postgres-2"
    assert lock["renewTime"] == lock["acquireTime"] != "1", "the TTL begins anew"
    assert [(what, version) for what, _, version in voters.asked] == [("consent", 10)] * 2 + [("cut", 10)] * 2


async def test_a_later_timeline_is_more_than_any_number_of_bytes(api: FakeApi, voters: FakeVoters) -> None:
    voters.positions = {"postgres-1": Position(2, 400), "postgres-2": Position(1, 900)}
    assert await attempt(api, voters)
    assert leader(api) == "postgres-1"


async def test_of_two_that_have_most_one_whose_patroni_answers_gets_the_lock(api: FakeApi, voters: FakeVoters) -> None:
    voters.without_patroni = {"postgres-1"}
    assert await attempt(api, voters)
    assert leader(api) == "postgres-2"


async def test_the_only_voter_with_the_latest_write_cannot_promote_so_nothing_is_done(
    api: FakeApi, voters: FakeVoters
) -> None:
    voters.positions["postgres-1"] = Position(1, 501)
    voters.without_patroni = {"postgres-1"}
    assert not await attempt(api, voters)
    assert leader(api) == "postgres-0"
    assert [what for what, _, _ in voters.asked].count("withdraw") == 2


async def test_a_slow_api_server_settles_the_voters_while_they_are_cut(api: FakeApi) -> None:
    class Slow(FakeVoters):
        async def ask(
            self, members: frozenset[str], what: str, body: Mapping[str, Any], limit: float
        ) -> dict[str, Answer]:
            while what == "cut" and not api.patched:  # noqa: ASYNC110 - the double has no event
                await asyncio.sleep(0)
            return await super().ask(members, what, body, limit)

    async with asyncio.timeout(10):
        assert await attempt(api, Slow())
    assert api.patched == ["postgres-sync", "postgres-leader"]


async def test_a_primary_can_hand_over_itself(api: FakeApi, voters: FakeVoters) -> None:
    own = Replacement("postgres-0", PatroniStore(cast(ApiClient, api), "tenant-acme"), voters)
    assert await own.attempt(parse(api.maps()), "10.0.0.1", planned=True)
    assert leader(api) == "postgres-1"


async def test_who_is_named_is_cut_last_so_that_it_has_what_the_others_have(api: FakeApi, voters: FakeVoters) -> None:
    own = Replacement("postgres-0", PatroniStore(cast(ApiClient, api), "tenant-acme"), voters)
    assert await own.attempt(parse(api.maps()), "10.0.0.1", planned=True, to="postgres-2") == "postgres-2"
    assert leader(api) == "postgres-2"
    assert [(what, member) for what, member, _ in voters.asked if what == "cut"] == [
        ("cut", "postgres-1"), ("cut", "postgres-2"),
    ]  # fmt: skip


@pytest.mark.parametrize("lacking", ["a write", "Patroni"])
async def test_who_is_named_gets_nothing_that_it_may_not_have(api: FakeApi, voters: FakeVoters, lacking: str) -> None:
    own = Replacement("postgres-0", PatroniStore(cast(ApiClient, api), "tenant-acme"), voters)
    if lacking == "Patroni":
        voters.without_patroni = {"postgres-2"}
    else:
        voters.positions["postgres-1"] = Position(1, 501)
    assert await own.attempt(parse(api.maps()), "10.0.0.1", planned=True, to="postgres-2") is None
    assert "postgres-2 lacks writes" in own.reason
    assert leader(api) == "postgres-0"
    assert [member for what, member, _ in voters.asked if what == "withdraw"] == ["postgres-1", "postgres-2"]


async def test_one_voter_that_sees_the_primary_alive_is_enough_to_leave_it(api: FakeApi, voters: FakeVoters) -> None:
    voters.refuse["consent", "postgres-2"] = "postgres-0 is well seen from postgres-2"
    assert not await attempt(api, voters)
    assert leader(api) == "postgres-0"
    assert api.patched == [], "an attempt that nobody joins changes nothing"


async def test_a_voter_that_cannot_cut_keeps_the_lock_and_ends_the_others_cuts(
    api: FakeApi, voters: FakeVoters
) -> None:
    voters.refuse["cut", "postgres-2"] = "the server here was too slow"
    assert not await attempt(api, voters)
    assert leader(api) == "postgres-0"
    assert [member for what, member, _ in voters.asked if what == "withdraw"] == ["postgres-1", "postgres-2"]


@pytest.mark.parametrize("changed", ["postgres-leader", "postgres-sync"])
async def test_what_changes_during_the_cuts_keeps_the_lock(api: FakeApi, voters: FakeVoters, changed: str) -> None:
    asked = voters.ask

    async def ask(members, what, body, limit):  # type: ignore[no-untyped-def]
        if what == "cut":
            await api.merge_patch(f"{MAPS}/{changed}", {"metadata": {"annotations": {"renewTime": "2"}}})
        return await asked(members, what, body, limit)

    voters.ask = ask  # type: ignore[method-assign]
    assert not await attempt(api, voters)
    assert leader(api) == "postgres-0"
    assert [what for what, _, _ in voters.asked].count("withdraw") == 2


async def test_while_it_is_unknown_whether_the_lock_is_gone_nobody_withdraws(api: FakeApi, voters: FakeVoters) -> None:
    api.errors[f"{MAPS}/postgres-leader"] = [TimeoutError()]
    assert not await attempt(api, voters)
    assert [what for what, _, _ in voters.asked].count("withdraw") == 0


@pytest.mark.parametrize("error", [ApiError(403, "forbidden"), TimeoutError(), ConnectionRefusedError()])
async def test_without_the_api_server_the_lock_stays_and_the_cuts_end(
    api: FakeApi, voters: FakeVoters, error: Exception
) -> None:
    api.errors[f"{MAPS}/postgres-sync"] = [error]
    assert not await attempt(api, voters)
    assert leader(api) == "postgres-0"
    assert [what for what, _, _ in voters.asked].count("withdraw") == 2


async def test_what_was_watched_is_old(api: FakeApi, voters: FakeVoters) -> None:
    seen = parse(api.maps())
    await api.merge_patch(f"{MAPS}/postgres-leader", {"metadata": {"annotations": {"leader": "postgres-2"}}})
    assert not await replacement(api, voters).attempt(seen, "10.0.0.1")
    assert leader(api) == "postgres-2"


async def test_a_lock_that_was_given_away_goes_to_the_voter_that_has_most(api: FakeApi, voters: FakeVoters) -> None:
    """A primary that stops in good order frees it; the race after it waits for servers that are gone."""
    voters.positions["postgres-2"] = Position(1, 501)
    del api.annotations(f"{MAPS}/postgres-leader")["leader"]
    assert await attempt(api, voters)
    assert leader(api) == "postgres-2"


async def test_a_primary_without_known_voters_is_left_to_patroni(voters: FakeVoters) -> None:
    api = FakeApi(voters="")
    assert not await attempt(api, voters)
    assert voters.asked == []
