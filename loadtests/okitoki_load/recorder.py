"""An open schedule, and the longest time without a success: what an outage looks like from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from okitoki_load.ledger import OK, Clock, Operation

LATE_SECONDS = 0.1


@dataclass(frozen=True)
class Gap:
    """A time without success: when it began (epoch seconds) and how long it lasted (seconds)."""

    at: float
    seconds: float

    @property
    def until(self) -> float:
        return self.at + self.seconds

    def as_json(self) -> dict[str, float]:
        return {"at": round(self.at, 3), "seconds": round(self.seconds, 3)}


def successes(operations: Iterable[Operation]) -> list[float]:
    """The times of success, in order."""
    return sorted(op.finished for op in operations if op.outcome == OK and op.finished is not None)


def longest_gap(times: Sequence[float], begin: float, end: float) -> Gap:
    """The longest interval without a success within begin..end; both ends count, so total failure is one long gap."""
    return max(gaps(times, begin, end), key=lambda gap: gap.seconds)


def gaps(times: Sequence[float], begin: float, end: float) -> list[Gap]:
    """All intervals between successes within begin..end."""
    marks = [begin, *(time for time in times if begin < time < end), max(begin, end)]
    return [Gap(before, after - before) for before, after in pairwise(marks)]


def longest_gap_around(times: Sequence[float], begin: float, end: float, window: tuple[float, float]) -> Gap:
    """The longest gap that overlaps a window, such as a fault and its recovery; not cut off at the window's ends."""
    touching = [gap for gap in gaps(times, begin, end) if gap.at <= window[1] and gap.until >= window[0]]
    return max(touching, key=lambda gap: gap.seconds, default=Gap(window[0], 0.0))


def latencies(operations: Iterable[Operation]) -> dict[str, float]:
    """Seconds from the intended start to success: median, 99th percentile and the worst."""
    values = sorted(op.latency for op in operations if op.outcome == OK and op.latency is not None)
    if not values:
        return {}
    return {
        "median": round(values[len(values) // 2], 4),
        "p99": round(values[min(len(values) - 1, int(len(values) * 0.99))], 4),
        "worst": round(values[-1], 4),
    }


class Schedule:
    """Starts at a fixed rate, whatever became of the earlier ones. Counts the starts that came late."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self.period = 1 / per_second
        self.late = 0
        self.worst_delay = 0.0
        self._clock = clock

    async def starts(self, stop: asyncio.Event, seconds: float | None = None) -> AsyncIterator[float]:
        """Yield each intended start (epoch seconds) at its time, until `stop` or for a number of seconds."""
        begun = self._clock.now()
        index = 0
        while not stop.is_set():
            due = begun + index * self.period
            if seconds is not None and index >= round(seconds / self.period):
                return
            wait = due - self._clock.now()
            if wait > 0 and await _stopped_within(stop, wait):
                return
            delay = self._clock.now() - due
            self.worst_delay = max(self.worst_delay, delay)
            self.late += delay > LATE_SECONDS
            yield due
            index += 1


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True
