"""One attempt: every way in which it must end with the lock in place, and the one in which it does not."""

from __future__ import annotations

import json
from typing import cast

import pytest
from unit.database_agent.doubles import MAPS, PODS, FakeApi, FakeVoters

from okitoki_agents.database.replace import Replacement
from okitoki_agents.database.store import PatroniStore
from okitoki_agents.kube import ApiClient, ApiError


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def voters() -> FakeVoters:
    return FakeVoters()


def replacement(api: FakeApi, voters: FakeVoters) -> Replacement:
    return Replacement("postgres-1", PatroniStore(cast(ApiClient, api), "tenant-acme"), voters)


async def attempt(api: FakeApi, voters: FakeVoters) -> bool:
    return await replacement(api, voters).attempt("postgres-0", "10.0.0.1")


def leader(api: FakeApi) -> str | None:
    return api.annotations(f"{MAPS}/postgres-leader").get("leader")


async def test_when_all_voters_have_cut_the_lock_goes_and_its_holder_leaves_the_race(
    api: FakeApi, voters: FakeVoters
) -> None:
    assert await attempt(api, voters)
    assert leader(api) is None
    assert sorted(json.loads(api.annotations(f"{MAPS}/postgres-leader")["failsafe"])) == ["postgres-1", "postgres-2"]
    assert "status" not in api.annotations(f"{PODS}/postgres-0"), "or the race would wait for it"
    assert [what for what, _, _ in voters.asked] == ["consent", "consent", "cut", "cut"]


async def test_the_cuts_are_for_the_version_that_is_removed(api: FakeApi, voters: FakeVoters) -> None:
    await attempt(api, voters)
    consents, cuts = ({version for what, _, version in voters.asked if what == wanted} for wanted in ("consent", "cut"))
    assert consents == {10}
    assert cuts == {12}, "the lock has been touched in between"


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
    api.errors[f"{MAPS}/postgres-leader"] = [None, TimeoutError()]
    assert not await attempt(api, voters)
    assert [what for what, _, _ in voters.asked].count("withdraw") == 0


@pytest.mark.parametrize("error", [ApiError(403, "forbidden"), TimeoutError(), ConnectionRefusedError()])
async def test_without_the_api_server_nothing_is_cut(api: FakeApi, voters: FakeVoters, error: Exception) -> None:
    api.errors[f"{MAPS}/postgres-leader"] = [error]
    assert not await attempt(api, voters)
    assert "cut" not in [what for what, _, _ in voters.asked]


async def test_the_lock_is_touched_once_for_touching_it_starts_patronis_ttl_anew(
    api: FakeApi, voters: FakeVoters
) -> None:
    voters.refuse["cut", "postgres-2"] = "the server here was too slow"
    one = replacement(api, voters)
    for _ in range(4):
        await one.attempt("postgres-0", "10.0.0.1")
    assert api.patched.count("postgres-leader") == 1


async def test_a_primary_without_known_voters_is_left_to_patroni(voters: FakeVoters) -> None:
    api = FakeApi(voters="")
    assert not await attempt(api, voters)
    assert voters.asked == []


async def test_a_pod_that_is_gone_needs_no_forgetting(api: FakeApi, voters: FakeVoters) -> None:
    del api.objects[f"{PODS}/postgres-0"]
    assert await attempt(api, voters)
