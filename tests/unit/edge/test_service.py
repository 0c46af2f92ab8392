"""A service's track file follows its health."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from okitoki_agents.edge.facts import Paths
from okitoki_agents.edge.guard import health
from okitoki_agents.edge.guard.health import State
from okitoki_agents.edge.guard.probes import Probe
from okitoki_agents.edge.guard.service import Service
from okitoki_agents.edge.track import TrackFile


class Answers(Probe):
    """Answers or not, as told."""

    def __init__(self) -> None:
        self.good = True

    def send(self) -> None:
        self.answered = self.good


class Case:
    """A service whose process is this test's word, on a clock of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.ready, self.alone, self.changes = 100.0, True, False, 0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.paths, self.probe = Paths(run=folder), Answers()
        self.service = self.make()

    def make(self) -> Service:
        return Service(
            self.paths, "kamailio", self.probe, 1.0, lambda: self.ready, lambda: self.alone, self.changed, health.MISSES
        )

    def changed(self) -> None:
        self.changes += 1

    def run(self, seconds: float) -> None:
        self.service.watch.pid = 1
        for _ in range(round(seconds / 0.15)):
            self.now += 0.15
            self.service.tick()

    @property
    def track(self) -> str:
        return (self.paths.track / "kamailio").read_text()


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(tmp_path, monkeypatch)


def test_a_fault_until_it_has_settled(case: Case) -> None:
    assert case.track == "1\n"
    case.service._started()
    case.run(0.6)
    assert case.track == "1\n"
    case.run(1.0)
    assert case.track == "0\n"
    assert case.service.health.state is State.OK


def test_a_death_is_a_fault_at_once(case: Case) -> None:
    case.service._started()
    case.run(2.0)
    case.service._died()
    assert case.track == "1\n"
    assert case.service.health.state is State.DOWN


def test_silence_is_a_fault_after_three_probes(case: Case) -> None:
    case.service._started()
    case.run(2.0)
    case.probe.good = False
    case.run(0.3)
    assert case.track == "0\n"
    case.run(0.45)
    assert case.track == "1\n"
    assert case.service.health.state is State.FROZEN


def test_an_address_that_nobody_else_could_take_stays_beside_a_slow_service(case: Case) -> None:
    """Seen on a cluster: beside a paused peer the SIP address left a slow Kamailio every 1.5 s, for nobody."""
    case.service._started()
    case.run(2.0)
    case.alone, case.probe.good = True, False
    case.run(1.5)
    assert (case.service.health.state, case.track) == (State.FROZEN, "0\n")
    case.probe.good = True
    case.run(0.3)
    assert (case.service.health.state, case.track) == (State.STARTING, "0\n")


def test_a_slow_service_gives_its_address_away_once_somebody_can_take_it(case: Case) -> None:
    case.service._started()
    case.run(2.0)
    case.alone, case.probe.good = True, False
    case.run(1.5)
    case.alone = False
    case.run(0.15)
    assert case.track == "1\n"


def test_a_service_is_able_only_while_it_is_good_and_not_withheld(case: Case) -> None:
    """Kept beside a slow service for want of somebody else, an address is nothing that the peer could give away too."""
    assert not case.service.able
    case.service._started()
    case.run(2.0)
    assert case.service.able
    case.alone, case.probe.good = True, False
    case.run(1.5)
    assert (case.track, case.service.able) == ("0\n", False)
    case.probe.good = True
    case.run(3.0)
    assert case.service.able
    case.service.withhold()
    assert not case.service.able


def test_a_death_is_a_fault_also_when_nobody_else_could_take_the_address(case: Case) -> None:
    case.alone = True
    case.service._started()
    case.run(0.6)
    assert case.track == "1\n"
    case.run(2.0)
    assert case.track == "0\n"
    case.service._died()
    assert case.track == "1\n"


def test_a_service_that_is_not_ready_waits_with_its_address(case: Case) -> None:
    case.ready = False
    case.service._started()
    case.run(3.0)
    assert case.service.health.state is State.OK
    assert case.track == "1\n"
    case.ready = True
    case.run(0.15)
    assert case.track == "0\n"


def test_a_drain_holds_whatever_the_health(case: Case) -> None:
    case.service._started()
    case.run(2.0)
    case.service.withhold()
    assert case.track == "1\n"
    case.run(2.0)
    assert case.track == "1\n"


def test_an_address_left_to_the_peer_comes_again_when_it_may(case: Case) -> None:
    case.service._started()
    case.run(2.0)
    case.service.left_to_peer = True
    case.run(0.15)
    assert case.track == "1\n"
    assert case.service.health.state is State.OK
    case.service.left_to_peer = False
    case.run(0.15)
    assert case.track == "0\n"


def test_a_guard_that_restarts_beside_a_good_service_moves_nothing(case: Case) -> None:
    case.service._started()
    case.run(2.0)
    case.service = case.make()
    assert case.track == "0\n"
    case.service._started()
    assert case.service.health.state is State.OK
    assert case.track == "0\n"


def test_a_guard_that_restarts_beside_a_dead_service_says_so(case: Case) -> None:
    TrackFile(case.paths, "kamailio").set(0)
    case.service = case.make()
    case.service.tick()
    assert case.track == "1\n"


def test_a_frozen_process_is_killed_once_its_time_is_up(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[float] = []
    monkeypatch.setattr(case.service.watch, "kill", lambda: killed.append(case.now))
    case.service._started()
    case.run(2.0)
    case.probe.good = False
    case.run(0.6 + health.KILL_FROZEN_AFTER - 0.4)
    assert killed == []
    case.run(0.6)
    assert killed


def test_no_address_comes_to_a_node_that_hears_nobody(case: Case) -> None:
    case.service._started()
    case.run(2.0)
    assert case.track == "0\n"
    case.alone = True
    case.service.deaf = True
    case.run(0.3)
    assert case.track == "1\n"
    case.service.deaf = False
    case.run(0.3)
    assert case.track == "0\n"
