"""RTP packets that can be recognised one by one, and what is known about a stream of them (RFC 3550, RFC 3551).

Each 20 ms packet of G.711 carries 160 bytes that follow from its stream and its number alone: the receiver computes
what it must be, so a lost, repeated, swapped or altered packet is seen as such, and so is audio of another call.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

from okitoki_phones.sdp import PAYLOAD_TYPE

PACKET_SECONDS = 0.020
PAYLOAD_BYTES = 160
HEADER = struct.Struct("!BBHII")
MARK_BYTES = 8
COUNTER = struct.Struct("!I")
NOISE_BYTES = PAYLOAD_BYTES - 2 * COUNTER.size - MARK_BYTES
NOISE_PERIOD = 4096
AGEING_STEP = 1 << 14
"""How far a sender's sequence number jumps while it ages: four jumps are a roll-over, and a receiver's guess of the
roll-over counter bears jumps below 2^15 (RFC 3711 section 3.3.1)."""
GAP_NOTED_MS = 60.0
GAPS_KEPT = 1000


class Pattern:
    """The payloads of one stream: number (4 bytes), the stream's mark (8), the number inverted (4), noise (144)."""

    def __init__(self, name: str) -> None:
        digest = hashlib.shake_256(name.encode()).digest(MARK_BYTES + NOISE_PERIOD + NOISE_BYTES)
        self.mark = digest[:MARK_BYTES]
        self._noise = digest[MARK_BYTES:]

    def payload(self, number: int) -> bytes:
        place = number * 37 % NOISE_PERIOD
        inverted = COUNTER.pack(number ^ 0xFFFFFFFF)  # or a flipped bit could turn one good packet into another
        return COUNTER.pack(number) + self.mark + inverted + self._noise[place : place + NOISE_BYTES]


def stream_name(call_id: str, sender: str) -> str:
    """The name of a call's stream; both sides know it, because proxies leave the Call-ID alone."""
    return f"{call_id}|{sender}"


def packet(payload: bytes, sequence: int, timestamp: int, source: int, *, marker: bool = False) -> bytes:
    """One RTP packet; the marker bit begins a talk spurt."""
    second = PAYLOAD_TYPE | (0x80 if marker else 0)
    return HEADER.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, source) + payload


def read_packet(data: bytes) -> tuple[int, bytes] | None:
    """Sequence number and payload, or None for what is not G.711 A-law in RTP (such as RTCP, section 12 and 5.1)."""
    if len(data) < HEADER.size or data[0] >> 6 != 2 or data[1] & 0x7F != PAYLOAD_TYPE:
        return None
    first, _, sequence, _, _ = HEADER.unpack_from(data)
    begin = HEADER.size + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < begin + 4:
            return None
        begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
    end = len(data) - (data[-1] if first & 0x20 else 0)
    return (sequence, data[begin:end]) if begin <= end else None


@dataclass
class Gap:
    """A time without a packet: when it began (seconds since the epoch) and how long it was."""

    at: float
    milliseconds: float

    def as_json(self) -> dict[str, float]:
        return {"at": round(self.at, 3), "ms": round(self.milliseconds, 1)}


@dataclass
class Gaps:
    """The longest interval between events of a series, and every one above `GAP_NOTED_MS`."""

    last: float | None = None
    longest: Gap | None = None
    noted: list[Gap] = field(default_factory=list)
    total: int = 0

    def event(self, at: float) -> None:
        """An event at a time in seconds."""
        if self.last is not None:
            milliseconds = (at - self.last) * 1000
            if self.longest is None or milliseconds > self.longest.milliseconds:
                self.longest = Gap(self.last, milliseconds)
            if milliseconds >= GAP_NOTED_MS:
                self.total += 1
                if len(self.noted) < GAPS_KEPT:
                    self.noted.append(Gap(self.last, milliseconds))
        self.last = at

    def as_json(self) -> dict[str, object]:
        return {
            "longestMs": round(self.longest.milliseconds, 1) if self.longest else None,
            "longestAt": round(self.longest.at, 3) if self.longest else None,
            "above60ms": self.total,
            "gaps": [gap.as_json() for gap in self.noted],
        }


class Receiver:
    """What arrived of one stream."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self.seen: set[int] = set()
        self.duplicated = 0
        self.reordered = 0
        self.corrupted = 0
        self.foreign = 0
        self.not_audio = 0
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.highest = -1
        self.gaps = Gaps()
        self._offset: int | None = None

    def start(self, at: float) -> None:
        """From here on audio is due: silence before the first packet counts as a gap."""
        if self.gaps.last is None:
            self.gaps.last = at

    def stop(self, at: float) -> None:
        """Up to here audio was due."""
        if self.gaps.last is not None and at > self.gaps.last:
            self.gaps.event(at)

    def receive(self, data: bytes, at: float) -> None:
        """One datagram with the kernel's receive time in seconds."""
        read = read_packet(data)
        if read is None:
            self.not_audio += 1
            return
        sequence, payload = read
        if len(payload) != PAYLOAD_BYTES:
            self.corrupted += 1
            return
        if payload[4 : 4 + MARK_BYTES] != self.pattern.mark:
            self.foreign += 1
            return
        number = COUNTER.unpack_from(payload)[0]
        offset = (sequence - number) % AGEING_STEP
        if payload != self.pattern.payload(number) or self._offset not in {None, offset}:
            self.corrupted += 1
            return
        self._offset = offset
        if number in self.seen:
            self.duplicated += 1
            return
        self._accept(number, at)

    def _accept(self, number: int, at: float) -> None:
        self.seen.add(number)
        if number < self.highest:
            self.reordered += 1
        self.highest = max(self.highest, number)
        if self.first_at is None:
            self.first_at = at
        self.last_at = at
        self.gaps.event(at)

    def lost(self) -> list[tuple[int, int]]:
        """Ranges (from, to) of numbers that never came, up to the highest that did."""
        ranges: list[tuple[int, int]] = []
        expected = 0
        for number in sorted(self.seen):
            if number > expected:
                ranges.append((expected, number - 1))
            expected = number + 1
        return ranges

    def as_json(self) -> dict[str, object]:
        lost = self.lost()
        return {
            "received": len(self.seen),
            "highest": self.highest,
            "lost": sum(end - begin + 1 for begin, end in lost),
            "lostRanges": [list(pair) for pair in lost[:GAPS_KEPT]],
            "duplicated": self.duplicated,
            "reordered": self.reordered,
            "corrupted": self.corrupted,
            "foreign": self.foreign,
            "notAudio": self.not_audio,
            "firstAt": self.first_at,
            "lastAt": self.last_at,
            **self.gaps.as_json(),
        }


class Sender:
    """The packets of one stream, and when they really left. `rolled_over`: how often the sequence number, which has 16
    bits, begins anew within the first packets, as it does every 22 minutes of a call."""

    def __init__(
        self, pattern: Pattern, source: int, first_sequence: int, first_timestamp: int, rolled_over: int = 0
    ) -> None:
        self.pattern = pattern
        self.jumps = rolled_over * (1 << 16) // AGEING_STEP
        self.source = source
        self.sequence = first_sequence
        self.timestamp = first_timestamp
        self.sent = 0
        self.errors = 0
        self.gaps = Gaps()

    def next(self, at: float) -> bytes:
        """The next packet, sent at a time in seconds."""
        number = self.sent
        self.sent += 1
        self.gaps.event(at)
        return packet(
            self.pattern.payload(number),
            self.sequence + number + AGEING_STEP * min(number, self.jumps),
            self.timestamp + number * PAYLOAD_BYTES,
            self.source,
            marker=number == 0,
        )

    def as_json(self) -> dict[str, object]:
        return {"sent": self.sent, "errors": self.errors, **self.gaps.as_json()}
