"""How many calls the region has, as Kamailio is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.edge_agent.support import facts

from okitoki_agents.edge import kamailio
from okitoki_agents.edge.agent import load, media
from okitoki_agents.edge.agent.media import MediaError, Sessions


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    said: list[tuple[str, ...]] = []

    def rpc(_: Any, *words: str) -> None:
        said.append(words)
        if words[0] == "htable.delete":
            raise kamailio.KamailioError("Key not found in htable.")

    monkeypatch.setattr(kamailio, "rpc", rpc)
    return said


def engines(monkeypatch: pytest.MonkeyPatch, counts: dict[int, Sessions]) -> None:
    async def sessions(port: int) -> Sessions:
        if port not in counts:
            raise MediaError(f"command port {port}")
        return counts[port]

    monkeypatch.setattr(media, "sessions", sessions)


async def test_the_calls_of_both_nodes_count_and_what_begins_is_counted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[tuple[str, ...]]
) -> None:
    engines(monkeypatch, {9901: Sessions(3, 0), 9902: Sessions(0, 4)})
    await load.look(facts(tmp_path))
    assert told == [("htable.sets", "load", "calls", "7"), ("htable.delete", "begun", "calls")]


async def test_an_engine_that_does_not_tell_makes_no_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[tuple[str, ...]]
) -> None:
    engines(monkeypatch, {9901: Sessions(3, 0)})
    with pytest.raises(MediaError):
        await load.look(facts(tmp_path))
    assert told == []
