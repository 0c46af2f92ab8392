"""What an engine and both Redis are told when a media address flaps, against doubles of all three."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from unit.edge.support import facts
from unit.edge.test_calls import ANSWERED, OFFERED, entry

from okitoki_agents.edge.guard import engine as engines
from okitoki_agents.edge.guard.call_store import CallStore
from okitoki_agents.edge.guard.engine import Engine


class Store:
    """A Redis database with the calls of one engine; `away` makes it one that does not answer. `speaks`: its guard says
    that it has the address."""

    def __init__(self, log: list[str], name: str) -> None:
        self.contents: dict[str, bytes] = {}
        self.log, self.name, self.away, self.speaks = log, name, False, True

    async def ids(self) -> set[str]:
        if self.away:
            raise TimeoutError
        return set(self.contents)

    async def any(self) -> bool:
        return bool(await self.ids())

    async def calls(self) -> dict[str, bytes]:
        await self.ids()
        return dict(self.contents)

    async def amend(self, call: str, before: bytes, after: bytes) -> None:
        assert self.contents[call] == before
        self.log.append(f"{self.name}: amend {call}")

    async def forget(self, calls: tuple[str, ...]) -> None:
        self.log += [f"{self.name}: forget {call}" for call in calls]

    async def say_owned(self) -> None:
        await self.ids()
        self.log.append(f"{self.name}: owned")

    async def owned(self, seconds: float) -> bool:
        await self.ids()
        return self.speaks

    async def empty(self) -> None:
        self.log.append(f"{self.name}: empty")

    async def announce(self, event: str, calls: set[str]) -> bool:
        await self.ids()
        self.log += [f"{self.name}: {event} {call}" for call in sorted(calls)]
        return True


class Bench:
    def __init__(self, engine: Engine, log: list[str], own: Store, peers: Store) -> None:
        self.engine, self.log, self.own, self.peers = engine, log, own, peers
        self.known: set[str] = set()
        self.here = True

    async def done(self) -> list[str]:
        async with asyncio.timeout(5):
            while not self.engine.settled:  # noqa: ASYNC110 - an order has no event
                await asyncio.sleep(0.005)
        return self.log


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    for name in ("SETTLE", "GIVE_UP", "HEARKEN", "RESTORE", "STALE"):
        monkeypatch.setattr(engines, name, 0.02)
    log: list[str] = []

    async def command(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        order = (await reader.readline()).decode().strip()
        if order == "list sessions all":
            for call in sorted(box.known):
                line = f"ID: {call:>60} | del:n | creat: 1 | prx:1.2.3.4:5 | redis: 1 | frgn:n | rec:n\n"
                writer.write(line.encode())
            if not box.known:
                writer.write(b"No sessions on this media relay.\n")
        else:
            log.append(order)
        writer.close()

    async with await asyncio.start_server(command, "127.0.0.1", 0) as server:
        here = facts(tmp_path)
        port = server.sockets[0].getsockname()[1]
        ports = replace(here.region.ports, cli=(port, port))
        here = replace(here, region=replace(here.region, ports=ports))
        own, peers = Store(log, "own"), Store(log, "peer's")
        made = iter((own, peers))
        monkeypatch.setattr(engines, "CallStore", lambda *_: next(made))
        box = Bench(Engine(here, 1), log, own, peers)
        yield box


async def test_what_the_peer_answered_during_a_flap_is_heard_before_calls_are_claimed(bench: Bench) -> None:
    bench.known = {"one", "two"}
    bench.own.contents = {"one": OFFERED, "two": ANSWERED}
    bench.peers.contents = {"one": ANSWERED, "two": OFFERED}
    bench.engine.own(lambda: True)
    bench.engine._came_at = 100.0  # the calls' own clock
    assert await bench.done() == ["standby", "peer's: set one", "active"]


async def test_a_call_of_which_no_word_had_come_when_the_address_moved_is_heard_until_it_is_known(bench: Bench) -> None:
    """Its phone's answers are dropped until then, for want of an engine that knows the call."""
    bench.peers.contents = {"ringing": OFFERED}
    bench.engine.own(lambda: True)
    bench.engine._came_at = 100.0  # the calls' own clock
    assert await bench.done() == ["peer's: set ringing", "active"]
    await bench.engine.hear(lambda: bench.here)
    assert bench.log == ["peer's: set ringing", "active"] * 2
    bench.known, bench.own.contents = {"ringing"}, {"ringing": OFFERED}
    await bench.engine.hear(lambda: bench.here)
    bench.known, bench.own.contents = set(), {}  # hung up, and in the peer's Redis still
    await bench.engine.hear(lambda: bench.here)
    assert bench.log == ["peer's: set ringing", "active"] * 2


async def test_calls_are_claimed_although_the_peer_is_dead(bench: Bench) -> None:
    bench.peers.away = True
    bench.engine.own(lambda: True)
    assert await bench.done() == ["active"]


async def test_an_address_that_goes_at_once_changes_nothing(bench: Bench) -> None:
    bench.engine.own(lambda: bench.here)
    bench.here = False
    assert await bench.done() == []


async def test_an_engine_that_lost_its_address_forgets_ended_calls_before_it_hears_the_others(bench: Bench) -> None:
    bench.known = {"ended", "goes-on"}
    bench.peers.contents = {"goes-on": ANSWERED, "begun": ANSWERED}
    bench.engine.disown(lambda: True)
    assert await bench.done() == ["standby", "peer's: del ended", "peer's: set begun", "peer's: set goes-on"]


@pytest.mark.parametrize("why", ["silent", "away"])
async def test_calls_are_kept_until_the_peer_says_that_it_has_the_address(bench: Bench, why: str) -> None:
    """Seen on a starved machine: both nodes lost their addresses, each took the other for the owner, and both ended all
    calls, for neither's Redis knew them as the other's."""
    bench.known, bench.here = {"call"}, False
    bench.peers.speaks, bench.peers.away = why != "silent", why == "away"
    bench.engine.disown(lambda: not bench.here)
    assert await bench.done() == []
    await asyncio.sleep(0.03)
    for _ in range(3):
        await bench.engine.tend(lambda: bench.here)
        assert await bench.done() == []
    bench.peers.speaks, bench.peers.away, bench.peers.contents = True, False, {"call": ANSWERED}
    await bench.engine.tend(lambda: bench.here)
    assert await bench.done() == ["standby", "peer's: set call"]
    await bench.engine.tend(lambda: bench.here)
    assert await bench.done() == ["standby", "peer's: set call", "own: empty"]


async def test_calls_that_were_kept_are_taken_up_when_the_address_is_back(bench: Bench) -> None:
    bench.known, bench.own.contents = {"call"}, {"call": ANSWERED}
    bench.here = bench.peers.speaks = False
    bench.engine.disown(lambda: not bench.here)
    await bench.done()
    bench.here = True
    bench.engine.own(lambda: bench.here)
    assert await bench.done() == ["active"]
    await bench.engine.tend(lambda: bench.here)
    assert await bench.done() == ["active"]


async def test_a_standby_keeps_calls_that_a_peer_without_the_address_does_not_have(bench: Bench) -> None:
    bench.known, bench.peers.speaks = {"call"}, False
    for _ in range(3):
        await bench.engine.tend(lambda: False)
    assert not any("del" in entry or "empty" in entry for entry in bench.log)
    bench.peers.speaks = True
    await bench.engine.tend(lambda: False)
    assert "peer's: del call" in bench.log


async def test_an_engine_says_that_it_owns_its_calls_once_they_are_written(bench: Bench) -> None:
    bench.engine.own(lambda: bench.here)
    await bench.engine.speak(lambda: bench.here)
    assert await bench.done() == ["active"]
    await bench.engine.speak(lambda: bench.here)
    await bench.engine.speak(lambda: False)
    bench.own.away = True
    await bench.engine.speak(lambda: bench.here)
    assert bench.log == ["active", "own: owned"]


async def test_a_standby_ends_orphans_at_the_second_look_and_empties_its_redis(bench: Bench) -> None:
    bench.known = {"orphan"}
    await asyncio.sleep(0.03)
    await bench.engine.tend(lambda: False)
    assert bench.log == ["own: empty"]
    await bench.engine.tend(lambda: False)
    assert bench.log == ["own: empty", "peer's: del orphan"]


async def test_a_standby_without_a_peer_keeps_what_it_knows(bench: Bench) -> None:
    bench.known, bench.peers.away = {"call"}, True
    for _ in range(3):
        await bench.engine.tend(lambda: False)
    assert not any("del" in entry for entry in bench.log)


async def test_an_active_engine_writes_what_its_redis_lacks_and_deletes_what_ended_without_it(bench: Bench) -> None:
    bench.known, bench.own.contents = {"unwritten"}, {"ended": ANSWERED}
    await bench.engine.tend(lambda: True)
    assert bench.log == ["active"]
    bench.known, bench.log[:] = set(), []
    await bench.engine.tend(lambda: True)
    assert bench.log == ["own: forget ended"]


async def test_an_owner_hears_what_the_peer_answered_while_it_held_the_address_too(bench: Bench) -> None:
    """Seen in a storm: a call offered here was answered by the peer, and one side heard nothing."""
    bench.known = {"one", "two"}
    bench.own.contents = {"one": OFFERED, "two": ANSWERED}
    bench.peers.contents = {"one": ANSWERED, "two": ANSWERED}
    bench.engine._came_at = 100.0  # the calls' own clock
    await bench.engine.hear(lambda: bench.here)
    assert bench.log == ["standby", "peer's: set one", "active"]


async def test_an_address_that_goes_while_the_peer_is_heard_is_not_claimed(bench: Bench) -> None:
    """Seen in a storm: an engine froze in between, and once awake it claimed the calls of an address that had gone."""
    bench.known, bench.own.contents, bench.peers.contents = {"one"}, {"one": OFFERED}, {"one": ANSWERED}
    bench.engine._came_at = 100.0  # the calls' own clock
    answers = iter((True, False, False))
    await bench.engine.hear(lambda: next(answers))
    assert bench.log == []


async def test_an_owner_leaves_a_standby_and_its_own_calls_alone(bench: Bench) -> None:
    bench.known, bench.own.contents = {"one"}, {"one": ANSWERED}
    await bench.engine.hear(lambda: bench.here)
    bench.peers.contents = {"one": OFFERED}
    await bench.engine.hear(lambda: bench.here)
    bench.peers.away = True
    await bench.engine.hear(lambda: bench.here)
    assert bench.log == []


ENCRYPTED = b'{"stream-0":{"-master_key":"x"},"ssrc_table-0":[%s]}' % json.dumps(entry("7")).encode()


async def test_a_standby_learns_how_far_encrypted_calls_have_come(bench: Bench) -> None:
    bench.own.contents = {"plain": ANSWERED, "encrypted": ENCRYPTED}
    await bench.engine.refresh(lambda: True)
    assert bench.log == ["active", "own: amend encrypted"]


@pytest.mark.parametrize("why", ["plain", "gone", "both", "away"])
async def test_nothing_is_refreshed_without_need_or_while_the_peer_may_own_calls_too(bench: Bench, why: str) -> None:
    """`active` counts as signalling: after a flap it would make old knowledge look newer than the peer's."""
    bench.own.contents = {"call": ANSWERED if why == "plain" else ENCRYPTED}
    bench.peers.contents = {"call": ENCRYPTED} if why == "both" else {}
    bench.peers.away = why == "away"
    await bench.engine.refresh(lambda: why != "gone")
    assert bench.log == []


async def test_new_calls_come_to_an_address_that_is_not_at_home_only_when_none_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.engine.admit(homeless=True)
    assert bench.log == []
    monkeypatch.setattr(bench.engine, "_at_home", False)
    await bench.engine.admit(homeless=True)
    await bench.engine.admit(homeless=True)
    await bench.engine.admit(homeless=False)
    assert bench.log == ["set maxsessions -1", "set maxsessions 0"]


async def test_the_store_speaks_of_one_database(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4096))
        writer.write(b"+OK\r\n+OK\r\n:1\r\n:0\r\n")
        writer.close()

    @asynccontextmanager
    async def redis() -> AsyncIterator[CallStore]:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            here = facts(tmp_path)
            ports = replace(here.region.ports, redis=server.sockets[0].getsockname()[1])
            yield CallStore(replace(here, region=replace(here.region, ports=ports)), 2, "127.0.0.1")

    async with redis() as store:
        assert await store.announce("set", ["a", "b"]) is False
    assert b"SELECT\r\n$1\r\n2\r\n" in heard[0]
    assert b"PUBLISH\r\n$16\r\n__keyspace@2__:a\r\n$3\r\nset\r\n" in heard[0]
