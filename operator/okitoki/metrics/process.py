"""Metrics of this process, in the names that controller-runtime and client-go give theirs, so that the dashboards and
rules written for those fit. Labels are bounded: kinds, verbs, codes, never the name of an object.

Source of names and buckets: controller-runtime, pkg/internal/controller/metrics and pkg/metrics/workqueue.go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily

disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()

_RECONCILE_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_QUEUE_SECONDS = (0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)
_CONTROLLER = ("controller",)
_QUEUE = ("name",)

RECONCILES = Counter(
    "controller_runtime_reconcile", "Reconciles by result: success, requeue_after, error.", (*_CONTROLLER, "result"),
    registry=REGISTRY,
)  # fmt: skip
RECONCILE_ERRORS = Counter(
    "controller_runtime_reconcile_errors", "Reconciles that failed and are tried again.", _CONTROLLER, registry=REGISTRY
)
RECONCILE_PANICS = Counter(
    "controller_runtime_reconcile_panics", "Reconciles that failed by a bug: an exception nobody expected.",
    _CONTROLLER, registry=REGISTRY,
)  # fmt: skip
RECONCILE_SECONDS = Histogram(
    "controller_runtime_reconcile_time_seconds", "Duration of reconciles.", _CONTROLLER, buckets=_RECONCILE_SECONDS,
    registry=REGISTRY,
)  # fmt: skip
ACTIVE_WORKERS = Gauge(
    "controller_runtime_active_workers", "Workers that reconcile now.", _CONTROLLER, registry=REGISTRY
)
MAX_CONCURRENT = Gauge(
    "controller_runtime_max_concurrent_reconciles", "Workers, shared by all controllers.", _CONTROLLER,
    registry=REGISTRY,
)  # fmt: skip
QUEUE_DEPTH = Gauge("workqueue_depth", "Keys that wait for a worker.", _QUEUE, registry=REGISTRY)
QUEUE_ADDS = Counter("workqueue_adds", "Keys put in.", _QUEUE, registry=REGISTRY)
QUEUE_RETRIES = Counter("workqueue_retries", "Keys put in again after a failure.", _QUEUE, registry=REGISTRY)
QUEUE_SECONDS = Histogram(
    "workqueue_queue_duration_seconds", "How long a key waited for a worker.", _QUEUE, buckets=_QUEUE_SECONDS,
    registry=REGISTRY,
)  # fmt: skip
WORK_SECONDS = Histogram(
    "workqueue_work_duration_seconds", "How long the work on a key took.", _QUEUE, buckets=_RECONCILE_SECONDS,
    registry=REGISTRY,
)  # fmt: skip
API_REQUESTS = Counter(
    "rest_client_requests", "Requests to the API server by HTTP code (`<error>`: no answer), verb and host.",
    ("code", "method", "host"), registry=REGISTRY,
)  # fmt: skip
LEADING = Gauge(
    "leader_election_master_status", "1 while this replica holds the lease and may write.", _QUEUE, registry=REGISTRY
)

K = TypeVar("K", bound=Hashable)


class QueueWatch(Generic[K]):
    """What a work queue tells of its keys; one set of series per `name_of(key)` (a kind, not an object)."""

    def __init__(self, name_of: Callable[[K], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._name_of = name_of
        self._clock = clock
        self._waiting: dict[K, float] = {}
        self._working: dict[K, float] = {}

    def added(self, key: K) -> None:
        """The key is ready for a worker."""
        name = self._name_of(key)
        QUEUE_ADDS.labels(name).inc()
        QUEUE_DEPTH.labels(name).inc()
        self._waiting[key] = self._clock()

    def taken(self, key: K) -> None:
        """A worker has it."""
        name, now = self._name_of(key), self._clock()
        QUEUE_DEPTH.labels(name).dec()
        QUEUE_SECONDS.labels(name).observe(now - self._waiting.pop(key, now))
        self._working[key] = now

    def done(self, key: K) -> None:
        """The work on it ended."""
        now = self._clock()
        WORK_SECONDS.labels(self._name_of(key)).observe(now - self._working.pop(key, now))

    def retried(self, key: K) -> None:
        """It failed and is to come again."""
        QUEUE_RETRIES.labels(self._name_of(key)).inc()

    def describe(self) -> list[GaugeMetricFamily]:
        """Names, for the registry (prometheus_client's protocol of collectors)."""
        return _longest({})

    def collect(self) -> list[GaugeMetricFamily]:
        """The work that does not end: seconds of the longest one, by name."""
        now, longest = self._clock(), dict[str, float]()
        for key, since in tuple(self._working.items()):
            name = self._name_of(key)
            longest[name] = max(longest.get(name, 0.0), now - since)
        return _longest(longest)


def _longest(values: dict[str, float]) -> list[GaugeMetricFamily]:
    family = GaugeMetricFamily(
        "workqueue_longest_running_processor_seconds", "How long the longest work of now has taken.", labels=_QUEUE
    )
    for name, value in sorted(values.items()):
        family.add_metric((name,), value)
    return [family]
