"""Watching processes: pid files, deaths, stops."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from okitoki_agents.edge.guard.processes import Watch


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(["sleep", "60"])
    yield started
    started.kill()
    started.wait()


class Seen:
    def __init__(self, file: Path) -> None:
        self.started = asyncio.Event()
        self.died = asyncio.Event()
        self.watch = Watch(file, self.started.set, self.died.set)


async def test_a_process_is_found_by_its_file_and_its_death_is_seen(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    file = tmp_path / "pid"
    seen = Seen(file)
    seen.watch.poll()
    assert seen.watch.pid is None
    file.write_text(f"{process.pid}\n")
    seen.watch.poll()
    assert seen.started.is_set()
    assert seen.watch.runs()
    process.kill()
    await asyncio.wait_for(seen.died.wait(), 5)
    assert seen.watch.pid is None
    assert not seen.watch.runs()
    seen.started.clear()
    seen.watch.poll()
    assert not seen.started.is_set()


async def test_a_file_older_than_the_process_is_of_another(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    file = tmp_path / "pid"
    file.write_text(f"{process.pid}\n")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    seen = Seen(file)
    seen.watch.poll()
    assert seen.watch.pid is None
    assert not seen.started.is_set()


async def test_a_stopped_process_does_not_run(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    file = tmp_path / "pid"
    file.write_text(f"{process.pid}\n")
    seen = Seen(file)
    seen.watch.poll()
    seen.watch.send(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # noqa: ASYNC222 - it has stopped by then
    assert not seen.watch.runs()
    seen.watch.send(signal.SIGCONT)
    os.waitid(os.P_PID, process.pid, os.WCONTINUED)  # noqa: ASYNC222
    assert seen.watch.runs()


async def test_what_has_ended_and_was_not_told_of_yet_can_be_killed_again(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    """Seen in a drill: the guard's look broke off at the second kill of a frozen HAProxy."""
    (tmp_path / "x").write_text(f"{process.pid}\n")
    watch = Watch(tmp_path / "x", lambda: None, lambda: None)
    watch.poll()
    process.kill()
    process.wait()
    watch.kill()
    watch.send(signal.SIGTERM)


async def test_a_kill_takes_the_children_along(tmp_path: Path) -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220
        ["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    file = tmp_path / "pid"
    file.write_text(f"{parent.pid}\n")
    seen = Seen(file)
    seen.watch.poll()
    pidfd = os.pidfd_open(child)
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, gone.set)
    seen.watch.kill()
    await asyncio.wait_for(gone.wait(), 5)
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
    parent.wait()
    parent.stdout.close()
