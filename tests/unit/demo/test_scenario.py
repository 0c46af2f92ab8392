from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from okitoki_chaos.cluster import ChaosError, Pod
from okitoki_chaos.faults.pods import Killed
from okitoki_chaos.timeline import Timeline
from okitoki_local.demo import scenario as module
from okitoki_local.demo.platform import KindCluster, Target
from okitoki_local.demo.scenario import Scenario
from okitoki_local.demo.traffic import Traffic
from okitoki_local.demo.waiting import Watcher

POD = Pod("tenant-acme", "postgres-0", "1", "node", ready=True, deleting=False)


class Quiet:
    """Traffic and watcher in one: everything flows and is Ready, except for what a test puts here."""

    def __init__(self) -> None:
        self.stalls: list[list[str]] = []
        self.not_ready: list[str] = []
        self.waits: list[int] = []

    def wait_flow(self, why: str, writes: int, calls: int) -> None:
        self.waits.append(writes)

    def stalled(self) -> list[str]:
        return self.stalls.pop(0) if self.stalls else []

    def unready(self) -> list[str]:
        return self.not_ready

    def summary(self) -> str:
        return "all well"


class Empty:
    """A cluster without anything in it."""

    def kubectl(self, *arguments: str) -> str:
        return '{"items": []}'


def made(quiet: Quiet, folder: Path, seed: int = 1) -> Scenario:
    return Scenario(
        cast(KindCluster, Empty()), [], cast(Watcher, quiet), cast(Traffic, quiet), Timeline(folder / "t.jsonl"), seed
    )


def target(name: str, find: Callable[[Any], Pod] = lambda cluster: POD) -> Target:
    return Target(name, "tenant-acme", "app=x", 3, find)


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []

    def kill(cluster: Any, pod: Pod, timeline: Timeline, **_: Any) -> Killed:
        done.append(pod.name)
        return Killed(pod, (1,), 100.0, 100.1)

    monkeypatch.setattr(module, "kill_server", kill)
    monkeypatch.setattr(module, "wait_replaced", lambda *_, **__: 107.0)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return done


def test_each_server_is_killed_in_turn_and_recovered_from(kills: list[str], tmp_path: Path) -> None:
    outcomes = made(Quiet(), tmp_path).run([target("one"), target("two")])
    assert [(one.name, one.at, one.replaced_at, one.error) for one in outcomes] == [
        ("one", 100.0, 107.0, None),
        ("two", 100.0, 107.0, None),
    ]
    assert all(one.recovered_at is not None for one in outcomes)
    assert len(kills) == 2


def test_ready_servers_that_do_not_serve_are_not_whole(
    kills: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, clock = Quiet(), iter(range(1000, 2000))
    quiet.stalls = [["no write of acme was acknowledged for 3 s"]] * 3
    monkeypatch.setattr(module.time, "time", lambda: float(next(clock)))
    made(quiet, tmp_path).wait_whole()
    assert quiet.stalls == []


def test_what_does_not_recover_ends_the_faults_and_says_why(
    kills: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECOVERY_SECONDS", 0.0)
    monkeypatch.setattr(Scenario.wait_whole, "__defaults__", (0.0,))
    quiet = Quiet()
    quiet.not_ready = ["tenant acme"]
    outcomes = made(quiet, tmp_path).run([target("one"), target("two")])
    assert [(one.name, one.recovered_at) for one in outcomes] == [("one", None)]
    assert "tenant acme is not Ready" in (outcomes[0].error or "")


def test_a_fault_that_is_refused_is_no_fault(kills: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Killed:
        raise ChaosError("refusing to kill postgres-0: 1 others are ready, 2 are needed")

    monkeypatch.setattr(module, "kill_server", refuse)
    (outcome,) = made(Quiet(), tmp_path).run([target("one")])
    assert outcome.recovered_at is None
    assert "refusing to kill" in (outcome.error or "")


def test_the_moments_follow_the_seed(kills: list[str], tmp_path: Path) -> None:
    def moments(seed: int) -> list[int]:
        quiet = Quiet()
        made(quiet, tmp_path, seed).run([target("one"), target("two")])
        return quiet.waits

    assert moments(7) == moments(7)
    assert moments(7) != moments(8)
