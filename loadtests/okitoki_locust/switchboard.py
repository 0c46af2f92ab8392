"""The greenlets' side of the phones' process: orders out, events in, each into the ledger and to Locust."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from typing import Any

import gevent
from gevent import subprocess
from gevent.event import Event

from okitoki_load.ledger import FAIL, OK, UNKNOWN, Operation
from okitoki_locust import children
from okitoki_locust.options import Phones
from okitoki_locust.run import Run
from okitoki_phones.judge import SILENCE_LIMIT_MS

START_SECONDS = 15.0
# The longest that ending takes: a BYE that nobody answers, 64 x T1, and the registrations after it.
END_SECONDS = 45.0

log = logging.getLogger(__name__)


class PhonesError(Exception):
    """The phones' process does not start or has died."""


class Switchboard:
    """One process of phones, for the users of one run."""

    def __init__(self, run: Run, phones: Phones) -> None:
        self._run = run
        self._ready = Event()
        self._serves = False
        self._calls: dict[str, Operation] = {}
        self._registered: set[str] = set()
        self._ending = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "okitoki_locust.phones"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=children.environment(), start_new_session=True,
        )  # fmt: skip
        self._reader = gevent.spawn(self._read)
        seed = f"{run.options.seed}/{run.name}/{run.worker}"
        self._send(
            {"server": phones.server, "host": phones.address, "trunk": phones.trunk, "caller": phones.caller,
             "seed": seed}
        )  # fmt: skip
        self._ready.wait(START_SECONDS)
        if not self._serves:
            self._ending = True
            self._process.kill()
            run.broken = run.broken or "the phones' process did not start"
            raise PhonesError("the phones' process did not start; its own words are above")

    def _send(self, command: dict[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise PhonesError(f"the phones' process is gone: {error}") from error

    def add_agent(self, username: str, secret: str) -> None:
        """A phone that registers and stays until the end of the run."""
        target = self._run.options.target
        self._send(
            {"do": "agent", "username": username, "domain": target.host, "secret": secret, "tenant": target.tenant}
        )

    def call(self, operation: Operation, talk: float, *, callee_ends: bool) -> None:
        """One call whose intent is in the ledger already."""
        self._calls[operation.id] = operation
        self._send(
            {"do": "call", "number": operation.body["number"], "tenant": self._run.options.target.tenant, "talk": talk,
             "calleeEnds": callee_ends, "reference": operation.id}
        )  # fmt: skip

    def wait_registered(self, count: int, limit: float) -> bool:
        """Wait until so many agents are registered, for so many seconds at most."""
        until = self._run.clock.now() + limit
        while len(self._registered) < count and self._run.clock.now() < until:
            gevent.sleep(0.05)
        return len(self._registered) >= count

    def _read(self) -> None:
        for line in self._process.stdout:
            event = json.loads(line)
            getattr(self, f"_take_{event.pop('event')}")(**event)
        self._ready.set()
        if not self._ending and self._serves:
            self._run.publish("SIP", "phones' process", 0.0, "sip", error="it ended by itself")
            self._run.broken = self._run.broken or "the phones' process ended by itself"

    def _take_ready(self) -> None:
        self._serves = True
        self._ready.set()

    def _take_end(self) -> None:
        log.debug("the phones have ended")

    def _take_stall(self, at: float, seconds: float) -> None:
        self._run.stalled("phones", at, seconds)

    def _take_registration(self, at: float, username: str, registered: bool, why: str, seconds: float) -> None:
        self._run.note("registration", at=at, username=username, registered=registered, why=why)
        (self._registered.add if registered else self._registered.discard)(username)
        error = None if registered else why
        self._run.publish("SIP", "REGISTER", seconds, "sip", error=error, agent=username)

    def _take_call(
        self, what: str, at: float, reference: str, code: int | None, reason: str | None, notes: list[str]
    ) -> None:
        """Set up, failed or over; the ledger has the outcome at the moment of the first two."""
        operation = self._calls.get(reference)
        if operation is None or what == "ended":
            return
        outcome, error = OK, None
        if what == "failed":
            # Without a final answer nobody knows how far the call got.
            outcome = UNKNOWN if code in {None, 408} else FAIL
            error = f"{code} {reason}; {'; '.join(notes)}".rstrip("; ")
        done = replace(operation, outcome=outcome, finished=at, attempts=1, detail=error or str(code))
        del self._calls[reference]
        self._run.aside(self._run.book.conclude, done)
        self._run.publish(
            "SIP", "INVITE", at - operation.due, "sip", error=error, judged=True, due=operation.due,
            operation=operation.id, writer=operation.writer,
        )  # fmt: skip

    def _take_leg(self, record: dict[str, Any]) -> None:
        """One side of a call is over: whether it was dropped, and the longest gap in the audio that it heard."""
        self._run.note("leg", record=record)
        audio = record["audio"]
        if record["establishedAt"] is None or audio is None:
            return
        into = audio["in"]
        gap = into["longestMs"]
        silent = into["received"] == 0 or (gap or 0.0) > SILENCE_LIMIT_MS
        altered = into["corrupted"] + into["foreign"]
        error = "no audio" if silent else f"{altered} packets of something else" if altered else None
        way = "to caller" if record["role"] == "carrier" else "to agent"
        self._run.publish("RTP", f"longest gap {way}", (gap or 0.0) / 1000, "rtp", error=error, call=record["callId"])
        if record["role"] == "carrier":
            dropped = _dropped(record)
            length = record["endedAt"] - record["establishedAt"]
            self._run.publish("SIP", "call", length, "sip", error=dropped, call=record["callId"])

    def end(self) -> None:
        """Hang up, and wait until every record is in the ledger."""
        self._ending = True
        self._process.stdin.close()
        self._reader.join(timeout=END_SECONDS)
        if not self._reader.dead:
            log.error("the phones did not end within %.0f s", END_SECONDS)
            self._run.broken = self._run.broken or "the phones did not end in time"
            self._process.kill()
            self._reader.join(timeout=5)
        self._process.wait()


def _dropped(record: dict[str, Any]) -> str | None:
    """Why the caller's side of an established call did not end as it should; the other side is judged afterwards."""
    if record["endedBy"] == "nobody":
        return "ended by neither side"
    if record["endedBy"] == "local" and record["byeCode"] != 200:
        return f"BYE not answered with 200: {record['byeCode'] or 'no answer'}"
    return None
