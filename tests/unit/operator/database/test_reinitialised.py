"""The agents' word of a member that was made anew."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from okitoki.database.reinitialised import REINITIALISED, Reinitialised, reinitialised
from okitoki_agents.database import store
from okitoki_agents.database.standstill import Mark


def config_map(text: str) -> dict[str, object]:
    return {"metadata": {"annotations": {REINITIALISED: text}}}


def test_operator_and_agent_mean_the_same_annotation() -> None:
    assert REINITIALISED == store.REINITIALISED
    text = json.dumps({"member": "postgres-2", "at": "2026-11-29T12:00:00+00:00", "reason": "no progress"})
    assert reinitialised(config_map(text)) == Reinitialised("postgres-2", "2026-11-29T12:00:00Z", "no progress")
    maps = {"postgres-config": config_map(text)}
    assert store.parse_mark(maps) == Mark("postgres-2", datetime(2026, 11, 29, 12, tzinfo=UTC))


@pytest.mark.parametrize("text", ["", "x", "[]", "3", "{}", '{"member": "a", "at": "yesterday", "reason": ""}'])
def test_what_no_agent_wrote_is_nothing(text: str) -> None:
    assert reinitialised(config_map(text)) is None
    assert reinitialised(None) is None
