"""The two preStop commands."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from okitoki_agents.edge import drain
from okitoki_agents.edge.facts import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(run=tmp_path)


def test_a_drain_asks_and_waits_until_the_addresses_are_gone(paths: Paths) -> None:
    results: list[int] = []
    waiting = threading.Thread(target=lambda: results.append(drain.drain(paths, 10)))
    waiting.start()
    while not paths.draining.exists():
        assert waiting.is_alive()
    assert results == []
    paths.drained.touch()
    waiting.join(5)
    assert results == [0]


def test_a_drain_that_does_not_end_fails(paths: Paths) -> None:
    assert drain.drain(paths, 0.1) == 1


def test_a_container_that_ends_alone_does_not_wait(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_START_GRACE", 0.1)
    assert drain.wait_drained(paths, 10) == 0


def test_a_container_of_a_pod_that_ends_waits_for_the_guard(paths: Paths) -> None:
    paths.draining.touch()
    assert drain.wait_drained(paths, 0.1) == 1
    paths.drained.touch()
    assert drain.wait_drained(paths, 0.1) == 0
