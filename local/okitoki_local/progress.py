"""One line per step with the elapsed time, and a heartbeat, so that a long step is never taken for a hung one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 20.0

_started = time.monotonic()


def say(message: str) -> None:
    """Print one line of progress; standard error, because standard output belongs to `cluster env`."""
    print(f"[{time.monotonic() - _started:6.1f}s] {message}", file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announce a step, remind of it while it lasts, and say how long it took or that it failed."""
    begun = time.monotonic()
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            say(f"{what}: {time.monotonic() - begun:.0f} s so far")

    say(f"{what} ...")
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        over.set()
        thread.join()
        say(f"{what}: {outcome} in {time.monotonic() - begun:.1f} s")
