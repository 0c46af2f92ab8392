"""The fence: it outlives its agent, and ends only when it may."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from unit.database_agent.doubles import FakeServer

from okitoki_agents.database.decisions import Store
from okitoki_agents.database.fencing import Fencing
from okitoki_agents.database.local import CutError

HELD = Store("postgres-0", 10, "postgres-0", frozenset({"postgres-1", "postgres-2"}), 7, paused=False)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fence.json"


def closed(file: Path) -> bool:
    """Whether the gate would refuse to start a server."""
    return file.exists()


async def test_no_server_may_start_from_before_the_cut_until_the_fence_is_lifted(
    server: FakeServer, file: Path
) -> None:
    fencing = Fencing("postgres-1", server, file)
    await fencing.cut("postgres-0", "10.0.0.1", 10, "postgres-1/1")
    assert closed(file), "the gate's file"
    await fencing.tend(HELD)
    assert closed(file)
    await fencing.tend(replace(HELD, leader_version=11))
    assert not closed(file)
    assert server.done[-1] == "resume"


async def test_a_cut_that_fails_leaves_nothing_behind(server: FakeServer, file: Path) -> None:
    server.trouble = "the server here was too slow"
    fencing = Fencing("postgres-1", server, file)
    with pytest.raises(CutError):
        await fencing.cut("postgres-0", "10.0.0.1", 10, "postgres-1/1")
    assert not closed(file)
    assert server.done == ["cut", "resume"]


async def test_a_second_cut_that_fails_does_not_end_the_first(server: FakeServer, file: Path) -> None:
    fencing = Fencing("postgres-1", server, file)
    await fencing.cut("postgres-0", "10.0.0.1", 10, "postgres-1/1")
    server.trouble = "the server here was too slow"
    with pytest.raises(CutError):
        await fencing.cut("postgres-0", "10.0.0.1", 12, "postgres-2/1")
    assert fencing.fence is not None
    assert fencing.fence.attempts == {"postgres-1/1"}
    assert "resume" not in server.done


async def test_the_fence_of_an_agent_that_died_is_found_and_held_by_the_next(server: FakeServer, file: Path) -> None:
    await Fencing("postgres-1", server, file).cut("postgres-0", "10.0.0.1", 10, "postgres-1/1")
    heir = Fencing("postgres-1", server, file)
    await heir.tend(HELD)
    assert heir.fence is not None
    await heir.tend(Store(None, 0, None, frozenset(), 0, paused=False))
    assert heir.fence is not None, "an agent that has seen nothing yet lifts nothing"
    server.local = replace(server.local, upstream="10.0.0.3")
    await heir.tend(replace(HELD, leader="postgres-2", leader_version=12))
    assert heir.fence is None


async def test_two_attempts_must_both_withdraw(server: FakeServer, file: Path) -> None:
    fencing = Fencing("postgres-1", server, file)
    await fencing.cut("postgres-0", "10.0.0.1", 10, "postgres-1/1")
    await fencing.cut("postgres-0", "10.0.0.1", 10, "postgres-2/1")
    await fencing.withdraw("postgres-1/1")
    await fencing.tend(HELD)
    assert closed(file)
    await fencing.withdraw("postgres-2/1")
    await fencing.tend(HELD)
    assert not closed(file)


async def test_a_stream_that_begins_although_it_is_cut_is_ended(server: FakeServer, file: Path) -> None:
    fencing = Fencing("postgres-1", server, file)
    await fencing.cut("postgres-0", "10.0.0.1", 10, "postgres-1/1")
    await fencing.tend(HELD)
    assert server.done[-1] == "enforce"


async def test_a_server_that_is_stopped_may_end_but_none_may_start(server: FakeServer, file: Path) -> None:
    fencing = Fencing("postgres-1", server, file)
    await fencing.cut("postgres-0", "10.0.0.1", 10, "postgres-1/1")
    server.local = replace(server.local, stopping=True)
    await fencing.tend(replace(HELD, leader="postgres-2", leader_version=12))
    assert server.done[-1] == "let go"
    assert closed(file)
