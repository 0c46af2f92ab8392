"""How the number of users goes over a run. Pure: seconds since the start, peak, length in seconds -> users."""

from __future__ import annotations

import math
from collections.abc import Callable

RAMP_PART = 0.8
BURST_EVERY_SECONDS = 20.0
BURST_SECONDS = 5.0
QUIET_PART = 0.2

Users = Callable[[float, int, float], int]


def steady(at: float, peak: int, length: float) -> int:
    """All users from the start to the end."""
    return peak


def ramp(at: float, peak: int, length: float) -> int:
    """From one user up to all of them at four fifths of the time, then level: shows where it bends."""
    return max(1, min(peak, math.ceil(peak * at / (RAMP_PART * length))))


def burst(at: float, peak: int, length: float) -> int:
    """A fifth of the users, and all of them for 5 s out of each 20."""
    busy = at % BURST_EVERY_SECONDS >= BURST_EVERY_SECONDS - BURST_SECONDS
    return peak if busy else max(1, round(peak * QUIET_PART))


CURVES: dict[str, Users] = {"steady": steady, "ramp": ramp, "burst": burst}
