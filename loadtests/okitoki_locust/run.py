"""What one process does of one run: its ledger, its operations under way, and how well it keeps its own time."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from gevent.pool import Group

from okitoki_load.ledger import Clock
from okitoki_load.recorder import LATE_SECONDS
from okitoki_load.writer import OPEN_OPERATIONS
from okitoki_locust.book import Book
from okitoki_locust.options import Options

LAG_EVERY_SECONDS = 0.02
STALL_SECONDS = 0.05
STALL_SHOWN_SECONDS = 0.2
# Beyond its deadline an operation only has to be written down.
GRACE_SECONDS = 5.0

log = logging.getLogger(__name__)
Publish = Callable[..., None]


class Run:
    """Operations live here and not in the users' greenlets: Locust may kill a user at any time (its --stop-timeout is 0
    unless told otherwise), and a request that is dropped in flight has no outcome.

    `publish` fires Locust's request event; `taken` hears of every such event, whoever fired it.
    """

    def __init__(self, options: Options, name: str, worker: int, publish: Publish) -> None:
        self.options = options
        self.name = name
        self.worker = worker
        self.clock = Clock()
        target = options.target
        self.key = target.key()
        self.book = Book(options.ledger / name / f"ledger-{worker}.jsonl")
        self.turns = BoundedSemaphore(options.requests_at_once)
        self.missed = 0
        self.broken: str | None = None
        self._names = itertools.count(1)
        self._publish = publish
        self._open = Group()
        self._ended = False
        self.note("run", run=name, tenant=target.tenant, region=target.region, at=self.clock.now())
        self._lag = gevent.spawn(self._watch_lag)

    def writer_name(self) -> str:
        """A name that no other writer of the run has."""
        return f"{self.worker}-{next(self._names)}"

    def begin(self, work: Callable[[float], None], due: float) -> None:
        """Start one operation that was due at a time; what it does is bounded by its own deadline."""
        if self._ended or self.broken:
            return
        if len(self._open) >= OPEN_OPERATIONS:
            self.missed += 1
            self.note("missed", due=due, at=self.clock.now())
            self.publish("CLIENT", "missed start", 0.0, "client", error=f"{OPEN_OPERATIONS} operations are open")
            return
        delay = self.clock.now() - due
        if delay > LATE_SECONDS:
            self.note("late", due=due, seconds=round(delay, 4))
            self.publish("CLIENT", "late start", delay, "client")
        self._open.spawn(self._guarded, work, due)

    def note(self, kind: str, /, **facts: Any) -> None:
        """Something that was seen, into the ledger."""
        self.book.note(kind, worker=self.worker, **facts)

    def aside(self, work: Callable[..., None], *arguments: Any) -> None:
        """Something that need not be waited for now, but before the end."""
        self._open.spawn(work, *arguments)

    def _guarded(self, work: Callable[[float], None], due: float) -> None:
        try:
            work(due)
        except OSError as error:  # the ledger cannot be written: nothing more may be sent
            self.broken = f"the ledger cannot be written: {error}"
            log.critical(self.broken)

    def publish(
        self, kind: str, name: str, seconds: float, protocol: str, *, error: str | None = None, size: int = 0,
        judged: bool = False, **facts: Any,
    ) -> None:  # fmt: skip
        """Tell Locust, and by its event the ledger. `judged`: an outcome after all retries, not one exchange."""
        context = {"protocol": protocol, "judged": judged, **facts}
        self._publish(
            request_type=kind, name=name, response_time=seconds * 1000, response_length=size,
            exception=None if error is None else RequestFailed(error), context=context,
        )  # fmt: skip

    def taken(
        self, request_type: str, name: str, response_time: float, exception: Any = None, context: Any = None, **_: Any
    ) -> None:
        """One request of anyone, into the ledger."""
        if self._ended:
            return
        facts = {"protocol": request_type.lower(), "judged": False, **(context or {})}
        self.note(
            "request", at=self.clock.now(), kind=request_type, name=name,
            seconds=round((response_time or 0) / 1000, 5), error=None if exception is None else str(exception), **facts,
        )  # fmt: skip

    def stalled(self, where: str, at: float, seconds: float) -> None:
        """This client did not get on for a while; what it measured meanwhile is that much too long at most."""
        self.note("stall", where=where, at=round(at, 3), seconds=round(seconds, 4))
        if seconds >= STALL_SHOWN_SECONDS:
            self.publish("CLIENT", f"own stall ({where})", seconds, "client")

    def _watch_lag(self) -> None:
        while True:
            before = self.clock.now()
            gevent.sleep(LAG_EVERY_SECONDS)
            lag = self.clock.now() - before - LAG_EVERY_SECONDS
            if lag >= STALL_SECONDS:
                self.stalled("users", before, lag)

    def drain(self) -> None:
        """Wait for every operation under way; each ends by its deadline."""
        self._open.join(timeout=self.options.deadline + GRACE_SECONDS)

    def end(self) -> None:
        """Write down that this is all. After it nothing is taken any more."""
        self.drain()
        if unfinished := len(self._open):
            log.error("%d operations did not end by their deadline", unfinished)
        self._lag.kill()
        self.note("end", at=self.clock.now(), missed=self.missed, unfinished=unfinished, broken=self.broken)
        self._ended = True
        self.book.close()


class RequestFailed(Exception):
    """What Locust shows for a failure."""
