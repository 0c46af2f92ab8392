from __future__ import annotations

import time
from pathlib import Path

import pytest
from unit.chaos.fakes import REGION, TENANT, Platform, agent_driver

from okitoki_chaos import faults
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.cluster_journal import ClusterJournal
from okitoki_chaos.journal import Journal, heal
from okitoki_chaos.steps import Plan
from okitoki_chaos.watchdog import round_of
from okitoki_chaos.world import World


@pytest.fixture
def platform() -> Platform:
    found = Platform()
    found.opt_in("node-a", "node-b")
    found.answer(" list ", "101 5000 1 x\n")
    found.answer(" states ", "S")
    return found


def journal_of(platform: Platform, copy: Path | None = None) -> ClusterJournal:
    return ClusterJournal(agent_driver(platform).cluster, "okitoki-drills", copy)


def frozen(platform: Platform) -> Plan:
    world = World(agent_driver(platform), [TENANT, REGION])
    return faults.plan(world, [{"fault": "freeze", "target": "app"}], "acme", "kyiv")


def test_a_watchdog_that_shares_no_disk_with_the_drill_undoes_what_is_overdue(platform: Platform) -> None:
    identity = journal_of(platform).announce(frozen(platform), limit=30)  # and then pod and node of the drill were lost
    said: list[str] = []
    watchdog = journal_of(platform)
    round_of(agent_driver(platform), watchdog, time.time() + 10, said.append)
    assert [entry.identity for entry in watchdog.open()] == [identity]
    round_of(agent_driver(platform), watchdog, time.time() + 31, said.append)
    assert watchdog.open() == []
    assert watchdog.closed_by(identity) == "watchdog"
    assert "after its time limit" in said[0]
    assert any("CONT" in line for line in platform.log)


def test_nothing_is_announced_while_the_api_server_does_not_take_it(platform: Platform, tmp_path: Path) -> None:
    platform.answer("patch configmap", "!the API server is away")
    with pytest.raises(ChaosError, match="away"):
        journal_of(platform, tmp_path / "journal.jsonl").announce(frozen(platform), 30)
    assert not (tmp_path / "journal.jsonl").exists()


def test_of_two_that_undid_a_fault_the_first_one_closed_it(platform: Platform) -> None:
    first, second = journal_of(platform), journal_of(platform)
    identity = first.announce(frozen(platform), 30)
    first.close(identity, "watchdog")
    second.close(identity, "runner")
    assert first.closed_by(identity) == second.closed_by(identity) == "watchdog"


def test_closing_what_was_never_open_is_an_error(platform: Platform) -> None:
    with pytest.raises(ChaosError, match="nonexistent"):
        journal_of(platform).close("0", "runner")


def test_the_latest_is_undone_first_and_a_copy_is_kept_for_people(platform: Platform, tmp_path: Path) -> None:
    journal = journal_of(platform, tmp_path / "journal.jsonl")
    identities = [journal.announce(frozen(platform), 30) for _ in range(3)]
    assert [entry.identity for entry in journal.open()] == identities[::-1]
    assert len(heal(agent_driver(platform), journal, "runner")) == 3
    assert [line["event"] for line in Journal(tmp_path / "journal.jsonl").lines()] == ["open"] * 3 + ["closed"] * 3


def test_what_is_closed_is_forgotten_and_what_is_open_stays(platform: Platform) -> None:
    journal = journal_of(platform)
    journal.close(journal.announce(frozen(platform), 30), "runner")
    left = journal.announce(frozen(platform), 30)
    journal.forget_closed()
    assert [line["id"] for line in journal.lines()] == [left]
