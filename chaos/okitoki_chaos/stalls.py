"""The drill's own stalls: a busy machine makes gaps that no server made. Reported, never subtracted."""

from __future__ import annotations

import threading
import time

from okitoki_chaos.timeline import Timeline

TICK_SECONDS = 0.02
STALL_SECONDS = 0.1


class StallMeter:
    """A thread that sleeps for 20 ms at a time and notes when it woke more than 100 ms late."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="stalls")

    def __enter__(self) -> StallMeter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        before = time.monotonic()
        while not self._stop.wait(TICK_SECONDS):
            now = time.monotonic()
            late = now - before - TICK_SECONDS
            if late > STALL_SECONDS:
                self._timeline.note("stall", seconds=round(late, 3))
            before = now
