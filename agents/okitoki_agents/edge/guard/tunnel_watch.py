"""Is the tunnel's supervisor at work? The guard ends one that is frozen, so that kubelet starts another. Pure; time is
counted in looks, for a guard that was frozen itself has not looked.

Nothing else follows from it: a node without a tunnel keeps its addresses and its calls, and its peer is not dead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

STOPPED_LOOKS = 4
"""Looks in a row (0.6 s) that find it stopped (SIGSTOP); whoever freezes the whole pod freezes the guard as well."""
SILENT_LOOKS = 100
"""Looks in a row (15 s) in which it says nothing, being slow perhaps: its end is wireguard-go's as well."""


@dataclass(frozen=True)
class Seen:
    """One look. `runs`: there is a process; `stopped`: by a signal; `spoke`: it has written its status since the last
    look; `state`: what it says there."""

    runs: bool
    stopped: bool
    spoke: bool
    state: str


@dataclass(frozen=True)
class Watched:
    """Looks in a row."""

    stopped: int = 0
    silent: int = 0


@dataclass(frozen=True)
class Decision:
    """`state`: of the service "tunnel", as the guard publishes it."""

    action: Literal["keep", "kill"]
    state: str
    reason: str


def look(before: Watched, seen: Seen) -> tuple[Watched, Decision]:
    """The next state and what to do."""
    if not seen.runs:
        return Watched(), Decision("keep", "down", "there is no supervisor; kubelet starts another")
    now = Watched(before.stopped + 1 if seen.stopped else 0, 0 if seen.spoke else before.silent + 1)
    if now.stopped >= STOPPED_LOOKS:
        return Watched(), Decision("kill", "frozen", "the tunnel's supervisor is stopped")
    if now.silent >= SILENT_LOOKS:
        return Watched(), Decision("kill", "frozen", "the tunnel's supervisor says nothing")
    if seen.stopped:
        return now, Decision("keep", "frozen", "the tunnel's supervisor is stopped, a moment ago")
    return now, Decision("keep", seen.state, "the tunnel's supervisor is at work")
