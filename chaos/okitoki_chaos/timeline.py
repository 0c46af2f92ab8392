"""One timeline of what was done to a system and what was seen of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from okitoki_load.ledger import Clock


class Timeline:
    """Events in order, kept in memory and as JSON lines on the disk. Threads may share it.

    The clock is the ledgers' one: the monotonic clock, set once by the wall clock, so that nothing goes backwards.
    """

    def __init__(self, path: Path, clock: Callable[[], float] | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.events: list[dict[str, Any]] = []
        self._path = path
        self._clock = clock or Clock().now
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def note(self, event: str, **facts: Any) -> dict[str, Any]:
        """Write one event; `at` is seconds since the epoch, now unless it is given."""
        with self._lock:
            line = {"at": facts.pop("at", None) or self._clock(), "event": event, **facts}
            self.events.append(line)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return line
