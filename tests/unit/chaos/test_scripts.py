"""The scripts, on real processes of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from okitoki_chaos.scripts import LIVING, SIGNAL, STATES


def bash(script: str, *arguments: str) -> str:
    done = subprocess.run(["bash", "-c", script, "test", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "3661.25"])
    yield process
    process.kill()
    process.wait()


def control_group() -> str:
    """Words that stand in this process's control group file, as a container's id does in those of its own."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        return file.readline().strip()


def start_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(") ")[2].split()[19]


def test_a_process_is_stopped_and_goes_on(victim: subprocess.Popen[bytes]) -> None:
    match = ("^sleep 3661.25", control_group())
    assert bash(STATES, *match) == "S"
    assert bash(SIGNAL, "STOP", *match) == "sent; 3 seen stopped"
    assert bash(STATES, *match) == "T"
    bash(SIGNAL, "CONT", *match)
    assert bash(STATES, *match) == "S"


def test_a_freeze_that_stopped_nothing_fails() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        bash(SIGNAL, "STOP", "^no such thing", control_group())


def test_nothing_that_matches_is_said_so() -> None:
    assert bash(STATES, "^no such thing", control_group()) == "none"


def test_a_process_is_gone_when_it_ended_or_its_number_is_anothers(victim: subprocess.Popen[bytes]) -> None:
    mark = f"{victim.pid}:{start_of(victim.pid)}"
    assert bash(LIVING, mark) == f"{mark} lives"
    assert bash(LIVING, f"{victim.pid}:1") == "gone"
    victim.kill()
    victim.wait()
    assert bash(LIVING, mark) == "gone"


def test_a_process_that_nobody_has_waited_for_is_gone(victim: subprocess.Popen[bytes]) -> None:
    mark = f"{victim.pid}:{start_of(victim.pid)}"
    victim.kill()
    for _ in range(50):
        if bash(LIVING, mark) == "gone":
            return
    pytest.fail("a zombie counts as living")
