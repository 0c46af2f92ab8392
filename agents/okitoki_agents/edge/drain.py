"""Give the addresses away before the pod ends: the two preStop commands.

All preStop hooks of a pod start together, in no order; and a container that is restarted on its own (a failed liveness
probe) runs only its own hook. So the guard's hook starts the drain, and the others wait for it only if it starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from okitoki_agents.edge.facts import Paths

_STEP = 0.05
_START_GRACE = 1.5
"""Seconds in which a drain of the whole pod must have begun, when only this container's hook may be running."""


def drain(paths: Paths, timeout: float) -> int:
    """Ask the guard to move all addresses away; 0 once none of the region is left here, 1 after `timeout` seconds."""
    paths.draining.touch()
    return 0 if _wait(lambda: paths.drained.exists(), timeout) else 1


def wait_drained(paths: Paths, timeout: float) -> int:
    """Return when a drain under way is done, or at once if there is none; 1 after `timeout` seconds."""
    if not _wait(lambda: paths.draining.exists(), _START_GRACE):
        return 0
    return 0 if _wait(lambda: paths.drained.exists(), timeout) else 1


def _wait(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP)
    return True
