"""How the number of users goes over a run: ramp, steady, burst. Chosen by --shape; peak by -u, length by -t."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from locust import LoadTestShape
from locust.util.timespan import parse_timespan

RAMP_PART = 0.8
BURST_EVERY_SECONDS = 20.0
BURST_SECONDS = 5.0
QUIET_PART = 0.2
DEFAULT_RUN_SECONDS = 60.0

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


class Shape(LoadTestShape):
    """A curve under Locust's common options: -u is the peak, -t the length, -r how fast users come and go."""

    abstract = True
    use_common_options = True
    curve = "steady"

    def tick(self) -> tuple[int, float] | None:
        at = time.perf_counter() - self.start_time
        peak, length, rate = self._common()
        if at >= length:
            return None
        users = CURVES[self.curve](at, peak, length)
        return users, rate if rate is not None else float(max(1, peak))

    def _common(self) -> tuple[int, float, float | None]:
        given = self.runner.environment.parsed_options if self.runner else None
        length = getattr(given, "run_time", None)
        if isinstance(length, str):  # as the web page gives it
            length = parse_timespan(length)
        return int(getattr(given, "num_users", None) or 1), float(length or DEFAULT_RUN_SECONDS), _rate(given)


def _rate(given: object) -> float | None:
    rate = getattr(given, "spawn_rate", None)
    return float(rate) if rate else None


class Steady(Shape):
    curve = "steady"


class Ramp(Shape):
    curve = "ramp"


class Burst(Shape):
    curve = "burst"


SHAPES: dict[str, type[Shape]] = {"steady": Steady, "ramp": Ramp, "burst": Burst}
