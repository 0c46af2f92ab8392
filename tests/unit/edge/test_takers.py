"""What the peer could take is what its guard says now, and nothing else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from unit.edge.support import facts

from okitoki_agents.edge import resp
from okitoki_agents.edge.guard.takers import VALID_SECONDS, Takers


@pytest.fixture
def takers(tmp_path: Path) -> Takers:
    return Takers(facts(tmp_path))


def say(monkeypatch: pytest.MonkeyPatch, *words: bytes, error: type[Exception] = TimeoutError) -> None:
    async def listen(*_: object) -> AsyncIterator[bytes]:
        for word in words:
            yield word
        raise error

    monkeypatch.setattr(resp, "listen", listen)


def test_a_peer_that_has_said_nothing_could_take_nothing(takers: Takers) -> None:
    """Seen on a cluster: its Redis answered, its engine did not exist yet, and the address went to nobody for 2 s."""
    assert not takers.could_take("rtpengine-2")


@pytest.mark.parametrize("error", [TimeoutError, OSError, resp.RespError])
async def test_the_last_word_counts(takers: Takers, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    say(monkeypatch, b"kamailio rtpengine-2", b"kamailio", error=error)
    await takers.listen()
    assert (takers.could_take("kamailio"), takers.could_take("rtpengine-2")) == (True, False)


async def test_an_old_word_counts_no_more(takers: Takers, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, b"kamailio")
    await takers.listen()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + VALID_SECONDS + 0.5)
    assert not takers.could_take("kamailio")


async def test_a_node_where_nothing_is_good_says_so(takers: Takers, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str | bytes, ...]] = []

    async def call(_address: object, _password: str, *commands: tuple[str | bytes, ...], seconds: float) -> list[int]:
        said.extend(commands)
        return [seconds > 0]

    monkeypatch.setattr(resp, "call", call)
    await takers.say([])
    await takers.say(["rtpengine-2", "haproxy"])
    assert said == [("PUBLISH", "could-take", ""), ("PUBLISH", "could-take", "haproxy rtpengine-2")]
