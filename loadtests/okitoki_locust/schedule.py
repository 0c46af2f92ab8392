"""One user's open schedule: what is due, whatever became of what was due before. Pure but for the clock it is given."""

from __future__ import annotations

from collections.abc import Callable


class OpenSchedule:
    """Intended starts `period` seconds apart. A start that comes late keeps its intended time; none is left out."""

    def __init__(self, period: float, now: Callable[[], float], phase: float = 0.0) -> None:
        """`phase`: which part (0..1) of a period passes before the first start, so that users don't march in step."""
        self._period = period
        self._now = now
        self._begun = now() + phase * period
        self._index = 0

    @property
    def due(self) -> float:
        """The next intended start, in seconds of the clock."""
        return self._begun + self._index * self._period

    def wait(self) -> float:
        """Seconds until the next start; 0 when it is due already."""
        return max(0.0, self.due - self._now())

    def take(self) -> float:
        """Begin the next start: its intended time."""
        due = self.due
        self._index += 1
        return due
