"""A guard that is frozen is ended, so that kubelet starts another: nothing else would, and its addresses are gone."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from pathlib import Path

from okitoki_agents import procfs
from okitoki_agents.edge.facts import Paths

log = logging.getLogger(__name__)

SILENT_SECONDS = 10.0
"""Age of the guard's heartbeat at which it counts as frozen. The leases are gone by then and keepalived has given the
addresses away."""
LOOKS = 3
"""Looks in a row, a second apart: a whole node that wakes finds every heartbeat old, and the next ones new."""


class GuardWatch:
    """`look` once a second."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._silent_looks = 0
        self.alive = False

    def look(self) -> None:
        """See whether the guard lives, and kill it when it lives but does nothing."""
        pid = procfs.named(self._paths.pid / "guard")
        self.alive = pid is not None and procfs.stat(pid) is not None
        silent = self.alive and _age(self._paths.heartbeat) > SILENT_SECONDS
        self._silent_looks = self._silent_looks + 1 if silent else 0
        if pid is not None and self._silent_looks >= LOOKS:
            log.error("the guard has been silent for more than %.0f s: killed", SILENT_SECONDS)
            self._silent_looks = 0
            # The shared pid namespace and the common user allow it; it may have ended meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def problem(self) -> str | None:
        """Why nobody looks after this node's addresses, None while somebody does."""
        if not self.alive:
            return "the guard is not running"
        return "the guard is silent" if self._silent_looks else None


def _age(file: Path) -> float:
    """Seconds since a file was touched, 0 when there is none yet: a guard that starts has not touched it."""
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return 0.0
