"""What processes wait for before they begin."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from unit.edge.support import facts

from okitoki_agents.edge import render
from okitoki_agents.edge.facts import SERVICES, Facts
from okitoki_agents.edge.processes import waits


@pytest.fixture
def made(tmp_path: Path) -> Facts:
    found = facts(tmp_path)
    found.paths.track.mkdir(parents=True, exist_ok=True)
    for service in SERVICES:
        (found.paths.track / service).write_text("1\n")
    return found


def test_the_guard_is_ready_once_every_service_has_its_track_file(made: Facts) -> None:
    assert waits.guard_ready(made)
    (made.paths.track / SERVICES[0]).unlink()
    assert not waits.guard_ready(made)


def test_nobody_waits_for_a_peer_that_is_not_known(made: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "peer_of", lambda facts: None)
    monkeypatch.setattr(waits, "redis_answers", lambda facts, host: pytest.fail("asked nobody's Redis"))
    waits.wait_for_peer(made)


def test_a_known_peer_is_waited_for_and_asked_by_its_alias(made: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answers(facts: Facts, host: str) -> bool:
        asked.append(host)
        return len(asked) == 3

    monkeypatch.setattr(render, "peer_of", lambda facts: "198.18.1.9")
    monkeypatch.setattr(waits, "redis_answers", answers)
    waits.wait_for_peer(made)
    assert asked == [made.region.peer_alias] * 3


def test_a_peer_that_is_away_does_not_keep_this_node_away(made: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "peer_of", lambda facts: "198.18.1.9")
    monkeypatch.setattr(waits, "redis_answers", lambda facts, host: False)
    began = time.monotonic()
    waits.wait_for_peer(made, patience=0.3)
    assert time.monotonic() - began >= 0.3
