"""SIP over TLS: messages out of a stream, and a phone whose server goes away and comes back."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from okitoki_phones import tls
from okitoki_phones.config import TlsConfig
from okitoki_phones.sip import Request, parse, response_to
from okitoki_phones.tls import Framer, TlsEndpoint
from okitoki_phones.transaction import Handlers

NAME = "acme.kyiv.okitoki.test"


def request(method: str, body: bytes = b"") -> Request:
    made = Request(method=method, uri="sip:x@y", body=body)
    for name, value in (("From", "<sip:a@b>;tag=1"), ("To", "<sip:x@y>"), ("Call-ID", "c"), ("CSeq", f"1 {method}")):
        made.add(name, value)
    return made


@pytest.mark.parametrize("size", [1, 7, 10000])
def test_messages_are_found_however_the_stream_is_cut(size: int) -> None:
    messages = [bytes(request("BYE")), bytes(request("INVITE", b"v=0\r\n\r\nmore")), bytes(request("ACK"))]
    stream = b"\r\n".join(messages) + b"\r\n\r\n"
    framer = Framer()
    found = [message for at in range(0, len(stream), size) for message in framer.feed(stream[at : at + size])]
    assert found == messages
    assert framer.pongs == 4


class Server:
    """Answers every request with 200; `silent` makes it read and say nothing."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context, self.silent = context, False
        self.requests: list[Request] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def die(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        framer = Framer()
        while data := await reader.read(65536):
            if self.silent:
                continue
            if data == tls.PING:
                writer.write(tls.PONG)
            for message in framer.feed(data):
                found = parse(message)
                assert isinstance(found, Request)
                self.requests.append(found)
                writer.write(bytes(response_to(found, 200)))


class Phone:
    def __init__(self, endpoint: TlsEndpoint, server: Server) -> None:
        self.endpoint, self.server = endpoint, server
        self.connected = 0

    async def ask(self, method: str = "OPTIONS") -> int:
        async with asyncio.timeout(5):
            return (await self.endpoint.start_client(request(method), ("ignored", 1)).final).status


@pytest.fixture
async def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Phone]:
    monkeypatch.setattr(tls, "PONG_SECONDS", 0.1)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(f"*.{NAME.partition('.')[2]}").configure_cert(context)
    server = Server(context)
    await server.start()
    config = TlsConfig(str(tmp_path / "ca.pem"), NAME, keepalive=0.1)
    endpoint = TlsEndpoint(Handlers(lambda _: None), ("127.0.0.1", server.port), config, lambda: None)
    made = Phone(endpoint, server)

    def connected() -> None:
        made.connected += 1

    endpoint._on_connected = connected
    await endpoint.bind(("127.0.0.1", 0))
    yield made
    endpoint.close()
    await server.die()


async def test_requests_go_over_the_connection_and_say_so(phone: Phone) -> None:
    assert await phone.ask() == 200
    assert phone.server.requests[0].via.transport == "TLS"
    assert str(phone.endpoint.contact("1001").uri).endswith(f":{phone.endpoint.address[1]};transport=tls")


async def test_a_phone_comes_back_to_a_server_that_was_away_and_sends_what_was_not_answered(phone: Phone) -> None:
    assert await phone.ask() == 200
    await phone.server.die()
    asked = asyncio.create_task(phone.ask("BYE"))
    await asyncio.sleep(0.2)
    await phone.server.start()
    assert await asked == 200
    assert phone.connected == 1
    assert phone.endpoint.connections[0][1] is not None


async def test_a_server_that_answers_no_ping_is_given_up(phone: Phone) -> None:
    phone.server.silent = True
    async with asyncio.timeout(5):
        while not phone.connected:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)
    assert phone.endpoint.last_problem == "no answer to a ping"


async def test_a_server_with_another_name_is_not_talked_to(phone: Phone, tmp_path: Path) -> None:
    config = TlsConfig(str(tmp_path / "ca.pem"), "acme.elsewhere.test")
    stranger = TlsEndpoint(Handlers(lambda _: None), ("127.0.0.1", phone.server.port), config, lambda: None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await stranger.bind(("127.0.0.1", 0))
    stranger.close()
    assert "CERTIFICATE_VERIFY_FAILED" in (stranger.last_problem or "")
