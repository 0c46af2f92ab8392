"""A keyed work queue: a key is worked on by one worker at a time, and a change during the work is not lost.

The semantics are those of client-go's rate-limiting workqueue, for asyncio.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from okitoki.metrics.process import QueueWatch

K = TypeVar("K", bound=Hashable)

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_LIMIT_SECONDS = 60.0


def backoff_seconds(failures: int, jitter: Callable[[], float] = random.random) -> float:
    """How long to wait after the n-th failure in a row (n ≥ 1): doubling up to a minute, a random half of it taken off.

    The jitter keeps many objects that failed together (the API server was away) from coming back together.
    """
    whole = min(BACKOFF_FIRST_SECONDS * 2.0 ** min(failures - 1, 16), BACKOFF_LIMIT_SECONDS)
    return whole * (0.5 + jitter() / 2)


class WorkQueue(Generic[K]):
    """Keys waiting for work. `get` and `done` bracket the work on a key; all calls come from one event loop."""

    def __init__(self, watch: QueueWatch[K] | None = None) -> None:
        """`watch` is told of every key (metrics)."""
        self._watch = watch
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._working: set[K] = set()
        self._timers: dict[K, tuple[float, asyncio.TimerHandle]] = {}
        self._failures: dict[K, int] = {}
        self._ended: dict[K, float] = {}
        self._soon: dict[K, float] = {}
        self._forgotten: set[K] = set()
        self._wakeup = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """Ask for work on a key; asked twice before the work starts it is done once."""
        self._cancel_timer(key)
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._make_ready(key)

    def add_apart(self, key: K, seconds: float) -> None:
        """Ask for work, at the earliest so long after the last work on the key ended: changes that come in a burst,
        above all those that the work itself made, are met together."""
        if key in self._working:
            self._soon[key] = seconds
        elif key not in self._dirty:
            since = asyncio.get_running_loop().time() - self._ended.get(key, -seconds)
            if since < seconds:
                self.add_after(key, seconds - since)
            else:
                self.add(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work later; of several such wishes for a key the earliest counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        waiting = self._timers.get(key)
        if waiting is not None and waiting[0] <= due:
            return
        self._cancel_timer(key)
        self._timers[key] = (due, loop.call_later(seconds, self.add, key))

    def retry(self, key: K, at_least: float = 0.0) -> float:
        """Ask for work again after a failure, with back-off; returns the delay in seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        if self._watch:
            self._watch.retried(key)
        delay = max(backoff_seconds(self._failures[key]), at_least)
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: K) -> None:
        """The work on a key went well: its back-off starts anew."""
        self._failures.pop(key, None)

    def forget(self, key: K) -> None:
        """The object behind the key is gone: nothing is kept for it once the work on it, if there is any, has ended."""
        self.succeeded(key)
        self._ended.pop(key, None)
        self._cancel_timer(key)
        if key in self._working:
            self._forgotten.add(key)

    async def get(self) -> K:
        """The next key to work on, waiting for one; the caller must call `done`."""
        while not self._ready:
            self._wakeup.clear()
            await self._wakeup.wait()
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        if self._watch:
            self._watch.taken(key)
        return key

    def done(self, key: K) -> None:
        """The work on a key ended; if it was asked for meanwhile it is ready again."""
        self._working.discard(key)
        if key not in self._forgotten:
            self._ended[key] = asyncio.get_running_loop().time()
        self._forgotten.discard(key)
        if self._watch:
            self._watch.done(key)
        soon = self._soon.pop(key, None)
        if key in self._dirty:
            self._make_ready(key)
        elif soon is not None:
            self.add_after(key, soon)

    def close(self) -> None:
        """Cancel the timers."""
        for key in list(self._timers):
            self._cancel_timer(key)

    def _make_ready(self, key: K) -> None:
        self._ready.append(key)
        self._wakeup.set()
        if self._watch:
            self._watch.added(key)

    def _cancel_timer(self, key: K) -> None:
        waiting = self._timers.pop(key, None)
        if waiting is not None:
            waiting[1].cancel()
