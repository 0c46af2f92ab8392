"""A guard that does nothing any more is ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from okitoki_agents.edge.agent.guard_watch import LOOKS, SILENT_SECONDS, GuardWatch
from okitoki_agents.edge.facts import Paths


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / "pid").mkdir()
    (tmp_path / "pid" / "guard").write_text(f"{process.pid}\n")
    yield process
    process.kill()
    process.wait()


def beat(paths: Paths, ago: float) -> None:
    paths.heartbeat.touch()
    os.utime(paths.heartbeat, (time.time() - ago, time.time() - ago))


def look(watch: GuardWatch, times: int) -> None:
    for _ in range(times):
        watch.look()


def test_a_frozen_guard_is_killed(tmp_path: Path, guard: subprocess.Popen[bytes]) -> None:
    paths = Paths(run=tmp_path)
    watch = GuardWatch(paths)
    beat(paths, SILENT_SECONDS + 5)
    look(watch, LOOKS - 1)
    assert guard.poll() is None
    assert watch.problem == "the guard is silent"
    look(watch, 1)
    assert guard.wait(10) == -9
    look(watch, 1)
    assert watch.problem == "the guard is not running"


def test_a_guard_that_wakes_with_its_node_is_left_alone(tmp_path: Path, guard: subprocess.Popen[bytes]) -> None:
    paths = Paths(run=tmp_path)
    watch = GuardWatch(paths)
    for ago in (30.0, 0.0, 30.0, 0.0):
        beat(paths, ago)
        look(watch, LOOKS - 1)
    assert watch.problem is None
    assert guard.poll() is None


def test_a_guard_that_starts_has_no_heartbeat_yet(tmp_path: Path, guard: subprocess.Popen[bytes]) -> None:
    watch = GuardWatch(Paths(run=tmp_path))
    look(watch, LOOKS)
    assert watch.problem is None
    assert guard.poll() is None


def test_no_guard_is_a_problem(tmp_path: Path) -> None:
    watch = GuardWatch(Paths(run=tmp_path))
    watch.look()
    assert watch.problem == "the guard is not running"
