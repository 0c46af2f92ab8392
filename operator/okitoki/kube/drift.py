"""What others change of our objects: who it was, and how often it is set back. Pure but for what it remembers.

A repair is immediate. Whoever changes the same object again and again (another controller that was given the same
field) is answered ever more slowly, so that two managers that both insist cost a bounded number of writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from okitoki.kube.labels import FIELD_MANAGER
from okitoki.kube.resources import ObjectKey

AT_ONCE = 3
"""So many repairs of an object come without a pause."""
LONGEST_SECONDS = 300.0
FORGET_SECONDS = 1800.0
"""An object that was left alone for so long starts anew."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Somebody else changed a field of an object that we had applied."""

    path: str
    by: str
    """Field managers that may have done it."""
    wait: float = 0.0
    """Seconds until it is set back; 0: it was."""

    def __str__(self) -> str:
        return f"{self.path} was changed by {self.by}"


def pause_after(repairs: int) -> float:
    """Seconds between the last of so many repairs and the next one: 0, 0, 0, 5, 10, 20 … 300."""
    return 0.0 if repairs < AT_ONCE else min(5.0 * 2.0 ** min(repairs - AT_ONCE, 20), LONGEST_SECONDS)


def others(live: Mapping[str, Any]) -> str:
    """Who besides us has written the object's spec or metadata, the last one first."""
    entries = [
        (str(entry.get("time", "")), str(entry.get("manager", "")))
        for entry in live["metadata"].get("managedFields") or []
        if entry.get("manager") != FIELD_MANAGER and not entry.get("subresource")
    ]
    return ", ".join(dict.fromkeys(manager for _, manager in sorted(entries, reverse=True))) or "somebody"


class Repairs:
    """Which content was applied last to which object, and how often it had to be applied again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[ObjectKey, tuple[str, int, float]] = {}

    def written(self, key: ObjectKey, content: str, *, again: bool) -> None:
        """Content (its hash) was applied; `again`: to set back what somebody had changed."""
        _, count, _ = self._known.get(key, ("", 0, 0.0))
        self._known[key] = (content, count + 1 if again else 0, self._clock())

    def knows(self, key: ObjectKey, content: str) -> bool:
        """Whether this content is what was applied last."""
        return key in self._known and self._known[key][0] == content

    def wait(self, key: ObjectKey) -> float:
        """Seconds until the object may be set back; 0: now."""
        now = self._clock()
        self._known = {one: found for one, found in self._known.items() if now - found[2] < FORGET_SECONDS}
        if key not in self._known:
            return 0.0
        _, count, last = self._known[key]
        return max(0.0, last + pause_after(count) - now)

    def gone(self, key: ObjectKey) -> None:
        """The object is no longer wanted."""
        self._known.pop(key, None)
