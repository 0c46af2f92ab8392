"""The ng protocol against an engine of one datagram socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from okitoki_agents.edge.agent import ng

Handler = Callable[[bytes], bytes | None]


class Engine(asyncio.DatagramProtocol):
    """Answers a datagram by `handler`; None: not at all."""

    def __init__(self) -> None:
        self.handler: Handler = lambda body: None
        self.seen: list[bytes] = []
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        cookie, _, body = data.partition(b" ")
        self.seen.append(cookie)
        answer = self.handler(body)
        if answer is not None:
            self.transport.sendto(cookie + b" " + answer, addr)  # type: ignore[attr-defined]


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(ng, "ANSWER_SECONDS", 0.1)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Engine, local_addr=("127.0.0.1", 0))
    yield protocol
    transport.close()


def test_bencoding_there_and_back() -> None:
    value = {"call-id": "a@b", "flags": ["x", "y"], "n": -3, "empty": {}}
    assert ng.encode(value) == b"d7:call-id3:a@b5:emptyde5:flagsl1:x1:ye1:ni-3ee"
    assert ng.decode(ng.encode(value)) == value


@pytest.mark.parametrize("data", [b"", b"d", b"l1:a", b"5:abc", b"i1", b"i1exx", b"d1:ae", b"x", b"-1:a"])
def test_what_is_not_bencoded_is_an_error(data: bytes) -> None:
    with pytest.raises(ng.NgError):
        ng.decode(data)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"result": "ok", "totals": {}}, True),
        ({"result": "error", "error-reason": "Unknown call-id"}, False),
    ],
)
async def test_whether_a_call_is_known(engine: Engine, answer: dict[str, Any], expected: bool) -> None:
    asked: list[Any] = []

    def handler(body: bytes) -> bytes:
        asked.append(ng.decode(body))
        return ng.encode(answer)

    engine.handler = handler
    assert await ng.knows_call("127.0.0.1", engine.port, "a@b") is expected
    assert asked == [{"command": "query", "call-id": "a@b"}]


async def test_another_error_is_not_absence(engine: Engine) -> None:
    engine.handler = lambda body: ng.encode({"result": "error", "error-reason": "busy"})
    with pytest.raises(ng.NgError, match="busy"):
        await ng.knows_call("127.0.0.1", engine.port, "a@b")


async def test_a_lost_datagram_is_sent_again_with_the_same_cookie(engine: Engine) -> None:
    engine.handler = lambda body: ng.encode({"result": "pong"}) if len(engine.seen) > 1 else None
    assert await ng.request("127.0.0.1", engine.port, {"command": "ping"}) == {"result": "pong"}
    assert len(engine.seen) == 2
    assert len(set(engine.seen)) == 1


async def test_silence_and_a_closed_port_are_errors(engine: Engine) -> None:
    with pytest.raises(ng.NgError, match="does not answer"):
        await ng.request("127.0.0.1", engine.port, {"command": "ping"})
    engine.transport.close()
    await asyncio.sleep(0)
    with pytest.raises(ng.NgError, match="does not answer"):
        await ng.request("127.0.0.1", engine.port, {"command": "ping"})
