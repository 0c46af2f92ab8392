"""What every command shares: its failure, and how it waits and says how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

LOOK_SECONDS = 1.0

T = TypeVar("T")


class Failed(Exception):
    """What was asked for was not done; says why and what to do."""


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass
class Waiter:
    """Clocks, and where progress is told (standard error, so that the answer alone is on standard output)."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = field(default=_tell)

    def stamp(self) -> str:
        """Now, as requests carry it (RFC 3339)."""
        return self.now().isoformat(timespec="microseconds").replace("+00:00", "Z")

    def until(self, look: Callable[[], tuple[T | None, str]], seconds: float) -> tuple[T | None, str]:
        """Look until there is a result, each second; the last look when there was none in time. `look` returns the
        result or None, and how far it is, which is told when it changes."""
        began, told = self.clock(), ""
        while True:
            found, progress = look()
            if found is not None or self.clock() - began >= seconds:
                return found, progress
            if progress and progress != told:
                self.tell(f"{self.clock() - began:4.0f} s  {progress}")
                told = progress
            self.sleep(LOOK_SECONDS)
