"""The agent between store, peers and server, without any of them real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from unit.database_agent.doubles import MAPS, FakeApi, FakeServer, FakeVoters, config_map

from okitoki_agents.database import agent as agent_module
from okitoki_agents.database import peers
from okitoki_agents.database.agent import DatabaseAgent
from okitoki_agents.database.decisions import Health, Position, Sight, Store, Verdict
from okitoki_agents.database.fencing import Fencing
from okitoki_agents.database.peers import Answer, Peers, application
from okitoki_agents.database.replace import Replacement
from okitoki_agents.database.store import PatroniStore
from okitoki_agents.kube import ApiClient, Object

DEAD = Health(True, 0.0, "PostgreSQL has been silent for 2.0 s")
QUESTION = {"primary": "postgres-0", "host": "10.0.0.1", "version": 10, "attempt": "postgres-2/1", "planned": False}


def pod(address: str, uid: str = "first") -> Object:
    return {"metadata": {"uid": uid}, "status": {"podIP": address} if address else {}}


class FakeProbe:
    """Watches nobody; `sight` is what the test says."""

    instances: list[FakeProbe] = []  # noqa: RUF012 - one list for the class is the point

    def __init__(self, password: str, stalls: object, address: Callable[[], str | None]) -> None:
        self._address, self.renewed = address, time.monotonic()
        FakeProbe.instances.append(self)

    @property
    def holder(self) -> str:
        """Who has the address that it asks."""
        return {"10.0.0.1": "postgres-0", "10.0.0.3": "postgres-2"}[self._address() or ""]

    def sight(self) -> Sight:
        now = time.monotonic()
        return Sight(now - 60, now, None, "", now, now, 0.0)

    async def run(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def agent(api: FakeApi, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatabaseAgent:
    monkeypatch.setattr(agent_module, "HolderProbe", FakeProbe)
    monkeypatch.setattr(agent_module, "STALE_LOOK_SECONDS", 0.01)
    FakeProbe.instances.clear()
    replacement = Replacement("postgres-1", PatroniStore(cast(ApiClient, api), "tenant-acme"), FakeVoters())
    fencing = Fencing("postgres-1", server, tmp_path / "fence.json")
    found = DatabaseAgent("postgres-1", "secret", server, fencing, replacement)
    found.on_maps(api.maps())
    found.on_pods({"postgres-0": pod("10.0.0.1"), "postgres-2": pod("10.0.0.3")})
    return found


async def until(done: object) -> None:
    for _ in range(200):
        if callable(done) and done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


async def test_a_dead_holder_is_replaced(agent: DatabaseAgent, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "health", lambda patience=1.0: DEAD)
    task = asyncio.create_task(agent.run())
    await until(lambda: api.annotations(f"{MAPS}/postgres-leader")["leader"] == "postgres-1")
    task.cancel()


async def test_attempts_that_fail_come_less_and_less_often(
    agent: DatabaseAgent, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "health", lambda patience=1.0: DEAD)
    agent._pause = 0.1
    tried: list[float] = []  # how long the pause before the next attempt is to be

    async def attempt(store: Store, host: str, *, planned: bool = False, to: str | None = None) -> str | None:
        tried.append(agent._pause)
        raise RuntimeError("whatever it is, there is a next attempt")

    monkeypatch.setattr(agent._replacement, "attempt", attempt)
    task = asyncio.create_task(agent.run())
    await until(lambda: len(tried) >= 3)
    task.cancel()
    assert tried == [0.1, 0.2, 0.4]


async def test_the_holder_is_watched_and_its_successor_after_it(agent: DatabaseAgent, api: FakeApi) -> None:
    maps = api.maps()
    maps["postgres-leader"] = config_map("postgres-leader", 12, leader="postgres-2", renewTime="2")
    agent.on_maps(maps)
    maps["postgres-leader"] = config_map("postgres-leader", 13, leader="postgres-1", renewTime="3")
    agent.on_maps(maps)
    assert [probe.holder for probe in FakeProbe.instances] == ["postgres-0", "postgres-2"]
    assert agent.health().dead is False, "it holds the lock itself"


async def test_a_free_lock_is_still_its_last_holders_affair(agent: DatabaseAgent, api: FakeApi) -> None:
    del api.annotations(f"{MAPS}/postgres-leader")["leader"]
    agent.on_maps(api.maps())
    assert [probe.holder for probe in FakeProbe.instances] == ["postgres-0"]
    assert agent.health().dead
    task = asyncio.create_task(agent.run())
    await until(lambda: api.annotations(f"{MAPS}/postgres-leader").get("leader") == "postgres-1")
    task.cancel()


async def test_a_renewal_of_the_lock_is_noticed(agent: DatabaseAgent, api: FakeApi) -> None:
    before = FakeProbe.instances[0].renewed
    maps = api.maps()
    maps["postgres-leader"] = config_map("postgres-leader", 12, leader="postgres-0", renewTime="2")
    await asyncio.sleep(0.01)
    agent.on_maps(maps)
    assert FakeProbe.instances[0].renewed > before


async def test_the_address_of_a_pod_that_is_gone_is_kept(agent: DatabaseAgent) -> None:
    agent.on_pods({"postgres-2": pod("10.0.0.9")})
    assert agent.address("postgres-0") == "10.0.0.1"
    assert agent.address("postgres-2") == "10.0.0.9"
    agent.on_pods({"postgres-0": pod("")})
    assert agent.address("postgres-0") == "10.0.0.1"


@pytest.mark.parametrize("after", [{}, {"postgres-0": pod("", "second")}], ids=["gone", "made anew"])
async def test_a_primary_whose_pod_is_deleted_by_force_is_to_be_replaced_at_once(
    agent: DatabaseAgent, after: dict[str, Object]
) -> None:
    assert not agent.health().dead
    agent.on_pods(after)
    assert agent.health().reason == "its pod has been deleted"
    agent._pod_gone = time.monotonic() - agent_module.POD_GONE_SECONDS
    assert not agent.health().dead, "a new one under its name may be the primary by now"


async def test_a_standbys_pod_may_come_and_go(agent: DatabaseAgent) -> None:
    agent.on_pods({"postgres-0": pod("10.0.0.1")})
    assert not agent.health().dead


async def test_an_agent_that_sees_the_primary_alive_does_not_cut(agent: DatabaseAgent, server: FakeServer) -> None:
    found = await agent.cut(QUESTION)
    assert not found.verdict.yes
    assert server.done == []


async def test_an_agent_that_sees_it_dead_cuts_and_lets_go_when_asked(
    agent: DatabaseAgent, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "health", lambda patience=1.0: DEAD)
    assert (await agent.cut(QUESTION)).verdict.yes
    assert agent.status()["fencedFrom"] == "postgres-0"
    assert (await agent.withdraw(QUESTION)).verdict.yes
    await agent._fencing.tend(agent.store)
    assert agent.status()["fencedFrom"] is None


async def test_anothers_attempt_is_let_finish_before_an_own_one_begins(
    agent: DatabaseAgent, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a busy cluster: two attempts at once, each cutting here, and the stream flowed a second late."""
    monkeypatch.setattr(agent, "health", lambda patience=1.0: DEAD)
    assert (await agent.cut(QUESTION)).verdict.yes
    agent._look()
    assert agent.status()["plan"] == "postgres-0 is to be replaced; postgres-2 is at it"
    await agent.withdraw(QUESTION)
    agent._look()
    assert agent._attempt is not None


async def test_a_cut_that_did_not_work_is_a_refusal_with_its_reason(
    agent: DatabaseAgent, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "health", lambda patience=1.0: DEAD)
    server.trouble = "the server here was too slow"
    found = (await agent.cut(QUESTION)).verdict
    assert (found.yes, found.reason) == (False, "postgres-1: the server here was too slow")


async def test_a_touch_of_the_lock_that_has_not_come_here_yet_is_no_reason_to_refuse(
    agent: DatabaseAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "health", lambda patience=1.0: DEAD)
    assert (await agent.cut({**QUESTION, "version": 12})).verdict.yes


def hold_the_lock(agent: DatabaseAgent, api: FakeApi, voters: str = "postgres-2") -> None:
    for name in ("postgres-leader", "postgres-sync"):
        api.annotations(f"{MAPS}/{name}")["leader"] = "postgres-1"
    api.annotations(f"{MAPS}/postgres-sync")["sync_standby"] = voters
    agent.on_maps(api.maps())


async def renew(agent: DatabaseAgent, api: FakeApi, at: str) -> None:
    """As Patroni does, and as the agent comes to know of it."""
    await api.merge_patch(f"{MAPS}/postgres-leader", {"metadata": {"annotations": {"renewTime": at}}})
    agent.on_maps(api.maps())


@pytest.fixture
def no_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "RENEWAL_SECONDS", 0.0)


@pytest.mark.usefixtures("no_renewal")
async def test_who_holds_the_lock_gives_it_away_before_its_pod_stops(
    agent: DatabaseAgent, api: FakeApi, server: FakeServer
) -> None:
    assert (await agent.handover({})).verdict.reason == "this server does not hold the lock"
    hold_the_lock(agent, api)
    found = await agent.handover({})
    assert found.verdict.yes
    assert server.done == ["checkpoint"]
    assert api.annotations(f"{MAPS}/postgres-leader")["leader"] == "postgres-2"


@pytest.mark.usefixtures("no_renewal")
async def test_nobody_is_handed_the_lock_when_all_members_stop(
    agent: DatabaseAgent, api: FakeApi, server: FakeServer
) -> None:
    for name in ("postgres-leader", "postgres-sync"):
        api.annotations(f"{MAPS}/{name}")["leader"] = "postgres-1"
    api.annotations(f"{MAPS}/postgres-sync")["sync_standby"] = "postgres-2"
    api.objects.setdefault(f"{MAPS}/postgres-config", config_map("postgres-config", 5))
    api.annotations(f"{MAPS}/postgres-config")["platform.oki-toki.net/stopping"] = "true"
    agent.on_maps(api.maps())
    assert "all members stop" in (await agent.handover({})).verdict.reason
    assert server.done == []
    assert api.annotations(f"{MAPS}/postgres-leader")["leader"] == "postgres-1"
    del api.annotations(f"{MAPS}/postgres-config")["platform.oki-toki.net/stopping"]
    agent.on_maps(api.maps())
    assert (await agent.handover({})).verdict.yes
    assert api.annotations(f"{MAPS}/postgres-leader")["leader"] == "postgres-2"


async def test_a_hand_over_that_nobody_can_take_is_left_to_patroni(agent: DatabaseAgent, api: FakeApi) -> None:
    hold_the_lock(agent, api, voters="")
    assert not (await agent.handover({})).verdict.yes
    assert api.annotations(f"{MAPS}/postgres-leader")["leader"] == "postgres-1"


async def test_a_hand_over_begins_when_the_lock_has_just_been_renewed(
    agent: DatabaseAgent, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen in a drill: a renewal in the middle made the attempt void, and writes were held up 3 s longer."""
    monkeypatch.setattr(agent_module, "RENEWAL_SECONDS", 60.0)
    hold_the_lock(agent, api)
    handing_over = asyncio.create_task(agent.handover({}))
    await asyncio.sleep(0.5)
    assert api.annotations(f"{MAPS}/postgres-leader")["leader"] == "postgres-1"
    await renew(agent, api, "7")
    assert (await handing_over).verdict.yes
    assert api.annotations(f"{MAPS}/postgres-leader")["leader"] == "postgres-2"


@pytest.mark.usefixtures("no_renewal")
async def test_a_hand_over_that_a_renewal_made_void_is_tried_once_more(
    agent: DatabaseAgent, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_the_lock(agent, api)
    attempt, outcomes = agent._replacement.attempt, []

    async def overtaken(store: Store, host: str, *, planned: bool = False, to: str | None = None) -> str | None:
        if not outcomes:
            # The watch tells of it later than the store has it.
            await api.merge_patch(f"{MAPS}/postgres-leader", {"metadata": {"annotations": {"renewTime": "8"}}})
        outcomes.append(await attempt(store, host, planned=planned, to=to))
        agent.on_maps(api.maps())
        return outcomes[-1]

    monkeypatch.setattr(agent._replacement, "attempt", overtaken)
    assert (await agent.handover({})).verdict.yes
    assert outcomes == [None, "postgres-2"]


@pytest.mark.usefixtures("no_renewal")
async def test_who_is_named_gets_the_lock_and_who_is_no_voter_does_not(agent: DatabaseAgent, api: FakeApi) -> None:
    assert not (await agent.handover({"to": "postgres-2"})).verdict.yes, "this server does not hold the lock"
    hold_the_lock(agent, api, voters="postgres-0,postgres-2")
    agent._replacement._voters.positions["postgres-0"] = Position(1, 500)  # type: ignore[attr-defined]
    refused = (await agent.handover({"to": "postgres-1"})).verdict
    assert (refused.yes, refused.reason) == (
        False, "postgres-1 is no synchronous standby; these are: postgres-0, postgres-2",
    )  # fmt: skip
    assert (await agent.handover({"to": "postgres-2"})).verdict.reason == "postgres-2 has taken over"
    assert api.annotations(f"{MAPS}/postgres-leader")["leader"] == "postgres-2"


@pytest.mark.usefixtures("no_renewal")
async def test_who_is_named_and_lacks_a_write_is_refused_with_the_reason(
    agent: DatabaseAgent, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "HAND_OVERS", 1)
    hold_the_lock(agent, api, voters="postgres-0,postgres-2")
    agent._replacement._voters.positions["postgres-0"] = Position(1, 501)  # type: ignore[attr-defined]
    refused = (await agent.handover({"to": "postgres-2"})).verdict
    assert not refused.yes
    assert "postgres-2 could not take over now, postgres-1 goes on: postgres-2 lacks writes" in refused.reason
    assert api.annotations(f"{MAPS}/postgres-leader")["leader"] == "postgres-1"


@pytest.mark.parametrize("holder", ["postgres-0", "postgres-1"])
async def test_a_primary_without_its_lock_is_killed_only_when_the_store_itself_says_so(
    agent: DatabaseAgent, api: FakeApi, server: FakeServer, holder: str
) -> None:
    """The watch says that another has the lock; it may be old news."""
    server.recovery = False
    api.objects[f"{MAPS}/postgres-leader"] = config_map("postgres-leader", 99, leader=holder)
    agent._held_since = time.monotonic() - 60
    task = asyncio.create_task(agent.run())
    if holder == "postgres-0":
        await until(lambda: "kill" in server.done)
    else:
        await asyncio.sleep(0.2)
        assert "kill" not in server.done
    task.cancel()


async def test_agents_talk_with_a_token_and_a_silent_one_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def cut(question: object) -> Answer:
        asked.append(question)
        return Answer(Verdict(True, "cut"), Position(3, 2**40), patroni=True)

    async with TestServer(application("token", {"cut": cut}, lambda: {"member": "postgres-2"})) as server:
        monkeypatch.setattr(peers, "PORT", server.port)
        async with ClientSession() as session:
            known = {"postgres-2": "127.0.0.1"}.get
            members = frozenset({"postgres-2", "postgres-9"})
            answers = await Peers("token", known, session).ask(members, "cut", QUESTION, 2.0)
            assert answers["postgres-2"] == Answer(Verdict(True, "cut"), Position(3, 2**40), patroni=True)
            assert not answers["postgres-9"].verdict.yes
            wrong = await Peers("guess", known, session).ask(frozenset({"postgres-2"}), "cut", QUESTION, 2.0)
            assert not wrong["postgres-2"].verdict.yes
            unknown = await Peers("token", known, session).ask(frozenset({"postgres-2"}), "promote", QUESTION, 2.0)
            assert not unknown["postgres-2"].verdict.yes
            async with session.get(server.make_url("/healthz")) as response:
                assert response.status == 200
        assert asked == [QUESTION]
    async with ClientSession() as session:
        gone = await Peers("token", lambda _: "127.0.0.1", session).ask(frozenset({"x"}), "cut", QUESTION, 0.5)
        assert not gone["x"].verdict.yes
