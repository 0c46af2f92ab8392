"""Addresses of a guard that renews no more go to the peer before their leases end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from okitoki_agents.edge.agent.deputy import BACK_LOOKS, LOOK_SECONDS, SILENT_SECONDS, Deputy, wanted
from okitoki_agents.edge.facts import Paths
from okitoki_agents.edge.guard import leases


class Node:
    """A heartbeat, a track file, and a clock of one's own."""

    def __init__(self, folder: Path) -> None:
        self.paths = Paths(run=folder)
        self.now = 100.0
        self.beats = 0
        self.peer = True
        self.deputy = Deputy(self.paths, lambda: self.peer, lambda: self.now)

    def beat(self) -> None:
        self.beats += 1
        self.paths.heartbeat.touch()
        # The clock may say what it wants, as long as it is another time.
        os.utime(self.paths.heartbeat, ns=(self.beats, self.beats))

    def go_on(self, seconds: float, *, beating: bool) -> list[int]:
        """Look as often as the agent does, while the guard renews every half second or does not."""
        seen = []
        for look in range(round(seconds / LOOK_SECONDS)):
            if beating and look % 2 == 0:
                self.beat()
            self.deputy.look()
            seen.append(self.value)
            self.now += LOOK_SECONDS
        return seen

    @property
    def value(self) -> int:
        return int((self.paths.track / "guard").read_text())


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_guard_that_renews_keeps_the_addresses(node: Node) -> None:
    assert set(node.go_on(20, beating=True)) == {0}


def test_the_farewell_comes_while_the_leases_last(node: Node) -> None:
    node.go_on(5, beating=True)
    seen = node.go_on(5, beating=False)
    # The last renewal may be a look older than the first look without one.
    assert (seen.index(1) + 1) * LOOK_SECONDS < leases.SECONDS - 0.4
    assert set(seen[seen.index(1) :]) == {1}


def test_they_may_come_again_when_the_guard_has_renewed_for_a_while(node: Node) -> None:
    node.go_on(5, beating=True)
    node.go_on(5, beating=False)
    seen = node.go_on(5, beating=True)
    assert seen[: BACK_LOOKS - 1] == [1] * (BACK_LOOKS - 1)
    assert seen[-1] == 0


def test_they_stay_when_nobody_could_take_them(node: Node) -> None:
    node.go_on(5, beating=True)
    node.peer = False
    assert set(node.go_on(5, beating=False)) == {0}


def test_a_guard_that_waits_for_the_processor_is_not_silent(node: Node) -> None:
    """Seen in a drill on a machine at a load of 65: both nodes gave everything away, and calls were lost."""
    node.paths.pid.mkdir()
    (node.paths.pid / "guard").write_text(f"{os.getpid()}\n")  # which runs, for it looks
    node.go_on(5, beating=True)
    assert set(node.go_on(5, beating=False)) == {0}


def test_a_step_of_the_clock_is_no_silence(node: Node) -> None:
    node.go_on(5, beating=True)
    node.beats += 10**15
    assert set(node.go_on(5, beating=True)) == {0}


def test_an_agent_that_did_not_get_on_has_seen_no_silence(node: Node) -> None:
    node.go_on(5, beating=True)
    node.now += 30
    assert set(node.go_on(SILENT_SECONDS - LOOK_SECONDS, beating=False)) == {0}


def test_a_guard_that_has_not_begun_yet_is_no_fault(node: Node) -> None:
    assert set(node.go_on(10, beating=False)) == {0}


def test_each_word_has_its_reason() -> None:
    late = SILENT_SECONDS + 0.1
    assert wanted(0, None, "", True, 0)[0] == wanted(0, 0.1, "S", True, 1)[0] == 0
    for state in ("T", "S", "D", "Z", ""):
        assert "peer is to take" in wanted(0, late, state, True, 0)[1]
    assert wanted(0, late, "R", True, 0)[0] == wanted(0, late, "T", False, 0)[0] == 0
    assert wanted(1, 0.1, "R", True, BACK_LOOKS - 1)[0] == 1
    assert "again" in wanted(1, 0.1, "S", True, BACK_LOOKS)[1]
