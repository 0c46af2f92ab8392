"""Locust's load shapes over our curves. Chosen by --shape; peak by -u, length by -t."""

from __future__ import annotations

import time

from locust import LoadTestShape
from locust.util.timespan import parse_timespan

from okitoki_locust.curves import CURVES

DEFAULT_RUN_SECONDS = 60.0


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
