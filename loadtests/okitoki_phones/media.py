"""One call's audio: a UDP socket that sends a marked stream every 20 ms and checks what arrives.

Receive times are the kernel's (SO_TIMESTAMPNS), so a busy Python process does not lengthen the gaps it measures. What
it does delay is its own sending; that is recorded beside, and subtracted from nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
import time

from okitoki_phones.rtp import PACKET_SECONDS, Pattern, Receiver, Sender, stream_name
from okitoki_phones.sdp import Crypto
from okitoki_phones.srtp import Cipher
from okitoki_phones.transaction import Address

# Linux's numbers (asm-generic/socket.h); the socket module does not carry them before Python 3.14.
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("@qq")
RECEIVE_BUFFER = 1 << 20
DATAGRAM = 2048


def kernel_time(ancillary: list[tuple[int, int, bytes]]) -> float:
    """The receive time in seconds since the epoch; the clock's, should the kernel have given none."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack_from(data)
            return float(seconds + nanoseconds / 1e9)
    return time.time()


class MediaSession:
    """The audio of one side of one call. `me` and `other` name the two streams of the call; `rolled_over` as in
    `Sender`."""

    def __init__(self, host: str, call_id: str, me: str, other: str, rolled_over: int = 0) -> None:
        self.receiver = Receiver(Pattern(stream_name(call_id, other)))
        self.sender = Sender(
            Pattern(stream_name(call_id, me)), secrets.randbits(32), secrets.randbits(15), secrets.randbits(31),
            rolled_over,
        )  # fmt: skip
        self.remote: Address | None = None
        self.sources: dict[str, int] = {}
        self.sending = True
        self.cipher: Cipher | None = None
        """Both ways are SRTP when there is one."""
        self._keys: tuple[bytes, bytes] | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind((host, 0))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._readable)
        self._tick: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._closed = False

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def start(self, remote: Address) -> None:
        """Begin to send; from now on audio of the other side is due."""
        self.remote = remote
        if self._tick is not None or self._closed:
            return
        self.receiver.start(time.time())
        self._due = self._loop.time()
        self._send()

    def encrypt(self, own: Crypto | None, theirs: Crypto | None) -> None:
        """From now on SRTP with these keys, or plain RTP without; the same keys as before change nothing."""
        if own is None or theirs is None:
            self.cipher, self._keys = None, None
        elif self._keys != (own.key, theirs.key):
            self.cipher, self._keys = Cipher(own, theirs), (own.key, theirs.key)

    def redirect(self, remote: Address, *, sending: bool) -> None:
        """Follow a re-INVITE: another place to send to, or silence while on hold."""
        self.remote = remote
        self.sending = sending

    def _send(self) -> None:
        if self._closed or self.remote is None:
            return
        if self.sending:
            data = self.sender.next(time.time())
            if self.cipher is not None:
                data = self.cipher.encrypt(data)
            try:
                self._socket.sendto(data, self.remote)
            except OSError:
                self.sender.errors += 1
        # After a stall the schedule goes on from now: a phone has no packets to make up for.
        self._due = max(self._due + PACKET_SECONDS, self._loop.time())
        self._tick = self._loop.call_at(self._due, self._send)

    def _readable(self) -> None:
        # A blocking error or an ICMP error ends this round; the next readable event begins another.
        with contextlib.suppress(OSError):
            while True:
                data, ancillary, _, source = self._socket.recvmsg(DATAGRAM, 64)
                self.sources[source[0]] = self.sources.get(source[0], 0) + 1
                if self.cipher is not None:
                    data = self.cipher.decrypt(data) or b""
                self.receiver.receive(data, kernel_time(ancillary))

    def stop_sending(self) -> None:
        """Fall silent: the call is ending on this side."""
        if self._tick is not None:
            self._tick.cancel()
        self.sending = False

    def close(self, due_until: float | None = None) -> None:
        """End the session. `due_until`: up to when (epoch seconds) audio of the other side was due."""
        if self._closed:
            return
        self._readable()
        self._closed = True
        self.stop_sending()
        if due_until is not None:
            self.receiver.stop(due_until)
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def as_json(self) -> dict[str, object]:
        audio = {"out": self.sender.as_json(), "in": self.receiver.as_json(), "sources": dict(self.sources)}
        return audio if self.cipher is None else {**audio, "undecryptable": self.cipher.refused}
