"""rtpengine's ng protocol: one UDP datagram `COOKIE BENCODED-DICTIONARY` each way (rtpengine,
docs/ng_control_protocol.md)."""

import asyncio
import secrets
from typing import Any

ANSWER_SECONDS = 0.5
TRIES = 3


class NgError(Exception):
    """The engine gave no answer, or one that cannot be read."""


def encode(value: Any) -> bytes:
    """Bencoding (BEP 3) of text, integers, lists and dictionaries."""
    if isinstance(value, bool) or value is None:
        raise TypeError(f"{value!r} cannot be bencoded")
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(encode(item) for item in value) + b"e"
    if isinstance(value, dict):
        return b"d" + b"".join(encode(key) + encode(item) for key, item in sorted(value.items())) + b"e"
    raise TypeError(f"{type(value).__name__} cannot be bencoded")


def decode(data: bytes) -> Any:
    """The value of one bencoding, text as str. Raises NgError."""
    try:
        value, end = _decode(data, 0)
    except (IndexError, ValueError) as error:
        raise NgError("the engine's answer is not bencoded") from error
    if end != len(data):
        raise NgError("the engine's answer has something after its end")
    return value


def _decode(data: bytes, at: int) -> tuple[Any, int]:
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items = []
        at += 1
        while data[at : at + 1] != b"e":
            if at >= len(data):
                raise ValueError("unterminated")
            item, at = _decode(data, at)
            items.append(item)
        if kind == b"l":
            return items, at + 1
        return dict(zip(items[::2], items[1::2], strict=True)), at + 1
    colon = data.index(b":", at)
    start, length = colon + 1, int(data[at:colon])
    if length < 0 or start + length > len(data):
        raise ValueError("a string longer than the data")
    return data[start : start + length].decode(errors="replace"), start + length


class _Exchange(asyncio.DatagramProtocol):
    def __init__(self, cookie: bytes) -> None:
        self._cookie = cookie
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        cookie, _, body = data.partition(b" ")
        if cookie == self._cookie and not self.answer.done():
            self.answer.set_result(body)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def request(address: str, port: int, command: dict[str, Any]) -> dict[str, Any]:
    """The engine's answer to a command, `{"result": "ok" | "error", …}`.

    Sent again with the same cookie, which the engine answers from memory. Raises NgError.
    """
    cookie = secrets.token_hex(8).encode()
    datagram = cookie + b" " + encode(command)
    loop = asyncio.get_running_loop()
    transport, exchange = await loop.create_datagram_endpoint(lambda: _Exchange(cookie), remote_addr=(address, port))
    try:
        for _ in range(TRIES):
            transport.sendto(datagram)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    answer = decode(await asyncio.shield(exchange.answer))
            except TimeoutError:
                continue
            except OSError as error:
                raise NgError(f"the engine at {address}:{port} does not answer: {error}") from error
            if not isinstance(answer, dict):
                raise NgError("the engine's answer is not a dictionary")
            return answer
        raise NgError(f"the engine at {address}:{port} does not answer")
    finally:
        transport.close()
        exchange.answer.cancel()


async def knows_call(address: str, port: int, call_id: str) -> bool:
    """Whether the engine holds a call of this Call-ID. Raises NgError when it does not say."""
    answer = await request(address, port, {"command": "query", "call-id": call_id})
    if answer.get("result") == "ok":
        return True
    # calls/ng.c: the only error of `query` that means absence.
    if "Unknown call-id" in str(answer.get("error-reason", "")):
        return False
    raise NgError(f"query: {answer.get('error-reason', answer.get('result'))}")
