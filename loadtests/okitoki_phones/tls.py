"""SIP over TLS from a phone (RFC 3261 section 18, RFC 5626): one connection, made anew when it breaks.

Everything goes over this connection, whatever address a message is for: the server is the phone's outbound proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping

from okitoki_phones.config import TlsConfig
from okitoki_phones.sip import Request, Response
from okitoki_phones.transaction import Address, Endpoint, Handlers, Timers

PING, PONG = b"\r\n\r\n", b"\r\n"
PONG_SECONDS = 10.0
"""RFC 5626 section 4.4.1: without an answer to a ping for this long the connection is dead."""
CONNECT_SECONDS = 3.0
RETRY_SECONDS = (0.1, 2.0)
"""The pause after the first failure to connect, and the longest; it doubles."""
_LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*([0-9]+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class Framer:
    """Messages out of a stream: Content-Length says where each ends (RFC 3261 section 18.3)."""

    def __init__(self) -> None:
        self._buffer = b""
        self.pongs = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Whole messages. Blank lines before one are pings and pongs."""
        self._buffer += data
        while True:
            while self._buffer.startswith(PONG):
                self._buffer = self._buffer[len(PONG) :]
                self.pongs += 1
            end = self._buffer.find(PING)
            if end < 0:
                return
            length = _LENGTH.search(self._buffer, 0, end + 2)
            whole = end + len(PING) + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            message, self._buffer = self._buffer[:whole], self._buffer[whole:]
            yield message


class TlsEndpoint(Endpoint):
    """`on_connected` is called after each connection but the first."""

    transport_name = "TLS"
    contact_parameters: Mapping[str, str | None] = {"transport": "tls"}
    reliable = True

    def __init__(
        self,
        handlers: Handlers,
        server: Address,
        config: TlsConfig,
        on_connected: Callable[[], None],
        timers: Timers | None = None,
    ) -> None:
        super().__init__(handlers, timers)
        self._server, self._config, self._on_connected = server, config, on_connected
        self._context = ssl.create_default_context(cafile=config.ca)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._writer: asyncio.StreamWriter | None = None
        self._work: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self.last_problem: str | None = None

    async def bind(self, address: Address) -> None:
        """Connect from this host; the port is any. Returns with the first connection."""
        self._work = asyncio.create_task(self._run(address[0]))
        await self._up.wait()

    def close(self) -> None:
        if self._work is not None:
            self._work.cancel()
        if self._writer is not None:
            self._writer.close()

    def send(self, message: Request | Response, destination: Address) -> None:
        """Without a connection only requests are kept, by their transactions: `send_again`."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(bytes(message))

    async def _run(self, host: str) -> None:
        pause = RETRY_SECONDS[0]
        while True:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    reader, writer = await asyncio.open_connection(
                        *self._server, local_addr=(host, 0), ssl=self._context, server_hostname=self._config.server_name
                    )
            except (OSError, TimeoutError) as error:
                self.last_problem = f"{type(error).__name__} {error}"
                self.counters.send_errors += 1
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_SECONDS[1])
                continue
            pause = RETRY_SECONDS[0]
            self._begin(writer)
            try:
                await self._serve(reader, writer)
            finally:
                self.connections[-1] = (self.connections[-1][0], time.time())
                self._writer = None
                writer.transport.abort()

    def _begin(self, writer: asyncio.StreamWriter) -> None:
        name = writer.get_extra_info("sockname")
        self.address = (name[0], name[1])
        self._writer = writer
        self.connections.append((time.time(), None))
        if len(self.connections) > 1:
            self._on_connected()
            for client in list(self.clients.values()):
                client.send_again()
        self._up.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the connection breaks, or no longer answers."""
        framer = Framer()
        pinging = asyncio.create_task(self._ping(framer, writer))
        try:
            while data := await reader.read(1 << 16):
                for message in framer.feed(data):
                    self._receive(message, self._server)
        except OSError as error:
            self.last_problem = f"{type(error).__name__} {error}"
        finally:
            pinging.cancel()

    async def _ping(self, framer: Framer, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                await asyncio.sleep(self._config.keepalive)
                before = framer.pongs
                writer.write(PING)
                for _ in range(100):
                    await asyncio.sleep(PONG_SECONDS / 100)
                    if framer.pongs > before:
                        break
                else:
                    self.last_problem = "no answer to a ping"
                    writer.transport.abort()
                    return
