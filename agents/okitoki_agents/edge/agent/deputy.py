"""Gives this node's addresses to the peer while their leases last, when nobody renews them any more.

A guard that is frozen, or gone for longer than a restart, leaves its addresses to the kernel, which drops them 3 s
after the last renewal (`guard/leases.py`). keepalived would announce them for five seconds more, on a node that no
longer has them: its own check of the guard is slow, so that a starved guard is no fault. So somebody else looks at the
heartbeat, which is touched with each renewal, and keepalived is told by a track file in time to say farewell.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from okitoki_agents import procfs
from okitoki_agents.edge.facts import Paths
from okitoki_agents.edge.track import TrackFile

log = logging.getLogger(__name__)

GUARD = "guard"
"""The track file's name; services have the others."""
LOOK_SECONDS = 0.25
SILENT_SECONDS = 2.0
"""A guard that renews every half second and has not for so long does not any more; the leases have a second left, and
the peer needs a third of it."""
BACK_SECONDS = 0.9
"""Renewals at most so far apart mean that somebody is there again."""
BACK_LOOKS = 4
"""Looks in a row with such renewals, after which addresses may come again."""
RUNNABLE = "R"


def wanted(value: int, age: float | None, state: str, peer: bool, fresh_looks: int) -> tuple[int, str]:
    """The track file's next value and why. Pure.

    `age`: seconds since the heartbeat was last seen to change, None while there has been none (a guard that starts
    holds nothing). `state`: the guard's process as its kernel says it (proc_pid_stat(5)), empty when there is none. One
    that is runnable waits for the processor, and so may the peer's: two starved nodes must not both give everything
    away. `peer`: whether there is one that could take the addresses.
    """
    if age is None:
        return 0, "no guard has begun yet"
    if value == 0 and age > SILENT_SECONDS and state != RUNNABLE and peer:
        return 1, f"the guard has not renewed the leases for {age:.1f} s: the peer is to take the addresses"
    if value == 1 and fresh_looks >= BACK_LOOKS:
        return 0, "the guard renews the leases again"
    return value, "as before"


class Deputy:
    """`run` looks four times a second. Ages are of this process's own observation: a step of the clock is no silence,
    and neither is a time in which this process did not get on."""

    def __init__(
        self, paths: Paths, peer_is_there: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._heartbeat, self._pid_file = paths.heartbeat, paths.pid / "guard"
        self._peer_is_there = peer_is_there
        self._track = TrackFile(paths, GUARD, initial=0)
        self._clock = clock
        self._seen: int | None = None
        self._since = self._looked = clock()
        self._fresh_looks = 0

    @property
    def said_farewell(self) -> bool:
        """Whether keepalived has been told to give the addresses away: they are not here, whatever was said last."""
        return self._track.value != 0

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        now = self._clock()
        if now - self._looked > SILENT_SECONDS:
            # It was this process that did not look.
            self._since = now
        self._looked = now
        touched = self._touched()
        if touched is not None and touched != self._seen:
            self._seen, self._since = touched, now
        age = None if self._seen is None else now - self._since
        self._fresh_looks = self._fresh_looks + 1 if age is not None and age <= BACK_SECONDS else 0
        value, reason = wanted(self._track.value, age, self._state(), self._peer_is_there(), self._fresh_looks)
        if value != self._track.value:
            log.warning("%s", reason)
            self._track.set(value)

    def _state(self) -> str:
        """The letter of the guard's process, empty when it has none."""
        pid = procfs.named(self._pid_file)
        fields = None if pid is None else procfs.stat(pid)
        return "" if fields is None else fields[0]

    def _touched(self) -> int | None:
        try:
            return self._heartbeat.stat().st_mtime_ns
        except OSError:
            return None
