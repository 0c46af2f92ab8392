"""What the load says while it runs: read off the files that phones and writers append to."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STALL_SECONDS = 2.0


def count_ok(ledger: Path) -> int:
    """Acknowledged writes in a ledger that is still being written."""
    return ledger.read_bytes().count(b'"outcome":"ok"') if ledger.exists() else 0


def last_ok(ledger: Path, tail: int = 1 << 20) -> float:
    """When the last write was acknowledged (epoch seconds, 0.0 for never), by the end of a ledger."""
    with ledger.open("rb") as file:
        file.seek(max(0, ledger.stat().st_size - tail))
        lines = file.read().split(b"\n")[1:-1]
    found = [json.loads(line) for line in lines if b'"outcome":"ok"' in line]
    return max((float(line["finished"]) for line in found), default=0.0)


def stalled(ledgers: Mapping[str, Path], now: float, limit: float = STALL_SECONDS) -> list[str]:
    """Tenants whose writers have had no success for a while: servers may be ready and yet not serve."""
    ages = {name: now - last_ok(ledger) for name, ledger in ledgers.items()}
    # Beyond an hour the end of the ledger holds no success at all.
    words = {name: f"{age:.0f} s" if age < 3600 else "a long time" for name, age in ages.items() if age > limit}
    return [f"no write of {name} was acknowledged for {word}" for name, word in words.items()]


class Load:
    """One session's load. `ledgers` by tenant; `events` is the carrier's file, None when there are no calls."""

    def __init__(self, ledgers: Mapping[str, Path], events: Path | None) -> None:
        self._ledgers = ledgers
        self._events = events
        self._read = 0
        self._count: Counter[str] = Counter()

    def faults(self) -> list[str]:
        """Why the load does not flow; empty when it does."""
        return stalled(self._ledgers, time.time())

    def calls(self) -> Counter[str]:
        """The carrier's events so far, by what they say; only what is new is read."""
        if self._events is None or not self._events.exists():
            return self._count
        with self._events.open("rb") as file:
            file.seek(self._read)
            lines = file.read().split(b"\n")[:-1]
        self._read += sum(len(line) + 1 for line in lines)
        self._count.update(str(json.loads(line)["event"]) for line in lines if line)
        return self._count

    def summary(self) -> str:
        """One line of where things stand."""
        count = self.calls()
        writes = sum(map(count_ok, self._ledgers.values()))
        return (
            f"{writes} writes acknowledged; calls: {count['established']} set up,"
            f" {count['established'] - count['ended']} talking, {count['failed']} failed"
        )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Complete lines of JSON; none when the file is not there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1] if line]
