from __future__ import annotations

import time
from pathlib import Path

import pytest
from unit.chaos.fakes import Platform, world_of

from okitoki_chaos import faults
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.journal import Journal, heal
from okitoki_chaos.steps import Plan
from okitoki_chaos.watchdog import round_of


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def pause(platform: Platform) -> Plan:
    return faults.plan(world_of(platform), [{"fault": "node-pause", "target": "node-of:primary"}], "acme", "kyiv")


def test_what_a_killed_drill_left_open_is_healed_by_the_next_one(platform: Platform, journal: Journal) -> None:
    plan = pause(platform)
    journal.announce(plan, 60)
    platform.states["node-a"] = "paused"  # and then its process was killed
    assert heal(world_of(platform).driver, Journal(journal.path), "a person") == [f"node-pause on {plan.target}"]
    assert platform.states["node-a"] == "running"
    assert journal.open() == []


def test_a_fault_that_was_announced_and_never_done_is_closed(platform: Platform, journal: Journal) -> None:
    journal.announce(pause(platform), 60)
    assert len(heal(world_of(platform).driver, journal, "a person")) == 1
    assert journal.open() == []


def test_a_fault_that_cannot_be_undone_stays_open_and_is_told(
    platform: Platform, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("okitoki_chaos.driver.time.sleep", lambda seconds: None)
    ticks = iter(range(0, 100000, 20))
    monkeypatch.setattr("okitoki_chaos.driver.verify.__kwdefaults__", {"clock": lambda: float(next(ticks))})
    journal.announce(pause(platform), 60)
    platform.states["node-a"] = "paused"
    platform.answer("docker unpause", "!the daemon is away")
    with pytest.raises(ChaosError, match="could not be undone"):
        heal(world_of(platform).driver, journal, "a person")
    assert len(journal.open()) == 1


def test_the_watchdog_undoes_what_is_overdue_and_nothing_else(platform: Platform, journal: Journal) -> None:
    identity = journal.announce(pause(platform), limit=30)
    platform.states["node-a"] = "paused"
    said: list[str] = []
    driver = world_of(platform).driver
    round_of(driver, journal, time.time() + 10, said.append)
    assert platform.states["node-a"] == "paused"
    round_of(driver, journal, time.time() + 31, said.append)
    assert platform.states["node-a"] == "running"
    assert journal.closed_by(identity) == "watchdog"
    assert "after its time limit" in said[0]


def test_a_line_cut_short_by_a_crash_announces_nothing(platform: Platform, journal: Journal) -> None:
    journal.announce(pause(platform), 60)
    with journal.path.open("ab") as file:
        file.write(b'{"event": "open", "id": "x", "pl')
    assert len(journal.open()) == 1
