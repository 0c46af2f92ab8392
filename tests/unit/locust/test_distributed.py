"""Master and workers: every worker's ledger reaches the master, and a lost worker is no silent one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.postgres import free_port
from unit.load.doubles import Store
from unit.locust.world import Locust, loaded_store

from okitoki_load import ledger

pytestmark = pytest.mark.timeout(180)


class World:
    """A master's and its workers' arguments, and the server that they load."""

    def __init__(self, store: Store, locust: Locust) -> None:
        self.store, self.locust = store, locust
        ports = (str(free_port()), str(free_port()))
        self._master = ("--master", "--master-bind-port", ports[0], "--collect-port", ports[1], "--headless")
        self._worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", ports[0])

    async def start(self, workers: int, *arguments: str) -> list[asyncio.subprocess.Process]:
        """The master first."""
        expected = ("--expect-workers", str(workers))
        master = await self.locust.start(*self._master, *expected, "-u", "4", "-r", "20", "--rate", "10", *arguments)
        return [master, *[await self.locust.start(*self._worker) for _ in range(workers)]]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with loaded_store(tmp_path) as (store, locust):
        yield World(store, locust)


async def test_the_ledgers_of_all_workers_are_judged_together(world: World) -> None:
    processes = await world.start(2, "-t", "8s", "--stop-timeout", "0")
    codes = await asyncio.wait_for(asyncio.gather(*(process.wait() for process in processes)), 120)
    assert codes == [0, 0, 0], world.locust.said()
    found = world.locust.report()
    assert found["state"] == "valid"
    assert found["troubles"] == []
    assert found["clients"]["ledgers"] == 2
    folder = world.locust.run_folder()
    by_worker = [ledger.read([folder / f"ledger-{worker}.jsonl"]) for worker in (0, 1)]
    assert all(by_worker)
    assert sum(map(len, by_worker)) == len(world.store.records) == found["writes"]["acknowledged"]
    for worker in (0, 1):
        brought = (folder / f"ledger-{worker}.jsonl").read_bytes()
        own = world.locust.results / "workers" / folder.name / f"ledger-{worker}.jsonl"
        assert brought == own.read_bytes()


async def test_a_worker_that_is_killed_leaves_what_it_knew_and_no_verdict_without_it(world: World) -> None:
    processes = await world.start(2, "-t", "10s", "--deadline", "2", "--stop-timeout", "1")
    while len(world.store.records) < 60:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    processes[2].kill()
    assert await asyncio.wait_for(processes[0].wait(), 150) == 3, world.locust.said()
    await asyncio.gather(*(process.wait() for process in processes))
    found = world.locust.report()
    assert found["state"] == "undecided"
    [trouble] = found["troubles"]
    assert "breaks off" in trouble
    assert found["writes"]["lost"] == []
    assert found["writes"]["acknowledged"] > 60
