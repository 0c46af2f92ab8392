"""One short question to each service, asked again and again; the answer counts, not its content's detail.

Each probe keeps its socket. `ask()` sends the next question and returns whether the last one was answered since.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path


class Probe(ABC):
    """`answered` becomes True when the service answers what `send` asked last."""

    answered = False

    @abstractmethod
    def send(self) -> None:
        """Ask. Never blocks; a question that cannot be asked stays unanswered."""

    def ask(self) -> bool:
        answered, self.answered = self.answered, False
        self.send()
        return answered

    def close(self) -> None:  # noqa: B027 - a datagram probe has nothing to forget
        """Forget the connection; the next question makes a new one."""


class UdpProbe(Probe):
    """A datagram each way. `question(n)` builds the n-th, `target()` says where it goes now."""

    def __init__(
        self, source: str, target: Callable[[], tuple[str, int]], question: Callable[[int], bytes], needle: bytes
    ) -> None:
        self._source, self._target, self._question, self._needle = source, target, question, needle
        self._socket: socket.socket | None = None
        self._count = 0

    def _open(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.bind((self._source, 0))
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
        return self._socket

    @property
    def local(self) -> tuple[str, int]:
        name: tuple[str, int] = self._open().getsockname()
        return name

    def send(self) -> None:
        self._count += 1
        with contextlib.suppress(OSError):
            self._open().sendto(self._question(self._count), self._target())

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            if self._socket is not None and self._needle in self._socket.recv(4096):
                self.answered = True


class HttpProbe(Probe):
    """`GET /` over a Unix socket, on one connection as long as it lasts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self) -> None:
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                self._socket.connect(os.fspath(self._path))
                asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
            self._socket.send(b"GET / HTTP/1.1\r\nHost: guard\r\n\r\n")
        except OSError:
            self.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(4096) if self._socket else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if b"HTTP/1.1 200" in data:
            self.answered = True
        if not data or b"onnection: close" in data:
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None


def sip_options(source: str, target: Callable[[], tuple[str, int]]) -> UdpProbe:
    """OPTIONS (RFC 3261, 11) from this node to its Kamailio."""

    def question(count: int) -> bytes:
        ip, port = target()
        return (
            f"OPTIONS sip:{ip}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {source};rport;branch=z9hG4bKguard{count}\r\n"
            f"From: <sip:guard@{source}>;tag=guard\r\nTo: <sip:{ip}>\r\nCall-ID: guard-{count}@{source}\r\n"
            f"CSeq: 1 OPTIONS\r\nMax-Forwards: 3\r\nContent-Length: 0\r\n\r\n"
        ).encode()

    return UdpProbe(source, target, question, b"SIP/2.0 200 ")


def ng_ping(port: int) -> UdpProbe:
    """`ping` of rtpengine's ng protocol (bencoded, after a cookie), over loopback."""
    return UdpProbe("127.0.0.1", lambda: ("127.0.0.1", port), lambda n: b"g%d d7:command4:pinge" % n, b"4:pong")
