"""The time limit of a fault, kept outside its target and outside the drill: a paused node cannot heal itself."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import Driver
from okitoki_chaos.journal import Journal, Open, heal

INTERVAL_SECONDS = 1.0


def overdue(entry: Open, now: float) -> bool:
    return now > entry.deadline


def round_of(driver: Driver, journal: Journal, now: float, say: Callable[[str], None]) -> None:
    """Undo what is beyond its limit; what cannot be undone now is tried again in the next round."""
    try:
        for done in heal(driver, journal, "watchdog", lambda entry: overdue(entry, now)):
            say(f"undone after its time limit: {done}")
    except ChaosError as error:
        say(str(error))


def watch(driver: Driver, journal: Journal, say: Callable[[str], None], *, last: bool = True) -> int:
    """Until SIGTERM. Then, if it is the `last` one of its drill, undo everything that is open, due or not."""
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    say("watching")
    while not stop.wait(INTERVAL_SECONDS):
        round_of(driver, journal, time.time(), say)
    for done in heal(driver, journal, "watchdog") if last else ():
        say(f"undone at the end: {done}")
    return 0
