"""A client of a tenant's API: writes call records, reads back what was acknowledged, lists with filters."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import gevent
from locust import User, task
from locust.exception import StopUser

from okitoki_load.attempts import Attempt, Course, judge_answer
from okitoki_load.ledger import FAIL, OK, Operation
from okitoki_load.operations import Operations
from okitoki_locust import lifecycle, reading
from okitoki_locust.client import FAILURES, Client, Reply, judge_error
from okitoki_locust.run import Run
from okitoki_locust.schedule import OpenSchedule

# How many acknowledged records a user remembers for reading back.
REMEMBERED = 200
LIST_LIMIT = 50
LIST_SECONDS = 60.0
PATH = "/v1/call-records"

Judge = Callable[[Reply], Attempt]


class ApiUser(User):
    """Starts --rate operations per second, each at its time; weights: 8 writes, 2 read back, 1 list."""

    def on_start(self) -> None:
        self.run_now: Run = self._require_run()
        options, target = self.run_now.options, self.run_now.options.target
        self.writer = self.run_now.writer_name()
        number = options.numbers[int(self.writer.rpartition("-")[2]) % len(options.numbers)]
        self.operations = Operations(run=self.run_now.name, name=self.writer, number=number, seed=options.seed)
        self.random: random.Random = self.operations.random
        self.schedule = OpenSchedule(1 / options.rate, self.run_now.clock.now, self.random.random())
        self.client = Client(target, self.run_now.key, options.requests_at_once)
        self.acknowledged: deque[Operation] = deque(maxlen=REMEMBERED)
        gevent.sleep(self.schedule.wait())

    def _require_run(self) -> Run:
        run = lifecycle.current()
        if run is None:
            raise StopUser
        return run

    def wait_time(self) -> float:
        """Locust asks how long to wait; the schedule is open, so this is never longer because a server was slow."""
        return self.schedule.wait()

    @task(8)
    def write(self) -> None:
        self.run_now.begin(self._write, self.schedule.take())

    @task(2)
    def read_back(self) -> None:
        self.run_now.begin(self._read_back if self.acknowledged else self._write, self.schedule.take())

    @task(1)
    def list_records(self) -> None:
        self.run_now.begin(self._list, self.schedule.take())

    def _write(self, due: float) -> None:
        operation = self.operations.write(due)
        self.run_now.book.intend(operation)

        def judge(reply: Reply) -> Attempt:
            return judge_answer(reply.status, reply.body, operation.id)

        headers = {"Idempotency-Key": operation.id}
        course = self._course("POST", PATH, PATH, judge, operation.id, body=operation.body, headers=headers)
        done = replace(
            operation, outcome=course.outcome, finished=self.run_now.clock.now(), attempts=course.attempts,
            detail=course.detail,
        )  # fmt: skip
        self.run_now.book.conclude(done)
        if done.outcome == OK:
            self.acknowledged.append(done)
        self._publish("write", due, course, done.id)

    def _read_back(self, due: float) -> None:
        operation = self.random.choice(self.acknowledged)
        path = f"{PATH}/{operation.id}"

        def judge(reply: Reply) -> Attempt:
            return reading.judge_record(reply.status, reply.body, operation)

        course = self._course("GET", path, f"{PATH}/{{id}}", judge, operation.id)
        self._contradiction(course, operation.id)
        self._publish("read back", due, course, operation.id)

    def _list(self, due: float) -> None:
        number = self.random.choice(self.run_now.options.numbers)
        since = datetime.fromtimestamp(round(due - LIST_SECONDS), UTC)
        query = {"from": since.isoformat(), "number": number, "limit": str(LIST_LIMIT)}

        def judge(reply: Reply) -> Attempt:
            return reading.judge_list(reply.status, reply.body, number, since, LIST_LIMIT)

        course = self._course("GET", f"{PATH}?{urlencode(query)}", PATH, judge, None)
        self._contradiction(course, None)
        self._publish("list", due, course, None)

    def _contradiction(self, course: Course, about: str | None) -> None:
        if course.outcome == FAIL and course.detail.startswith(reading.WRONG):
            self.run_now.note("violation", at=self.run_now.clock.now(), id=about, what=course.detail)

    def _publish(self, name: str, due: float, course: Course, operation: str | None) -> None:
        error = None if course.outcome == OK else f"{course.outcome}: {course.detail}"
        self.run_now.publish(
            "API", name, self.run_now.clock.now() - due, "https", error=error, judged=True, due=due,
            operation=operation, writer=self.writer, attempts=course.attempts,
        )  # fmt: skip

    def _course(self, method: str, path: str, name: str, judge: Judge, operation: str | None, **request: Any) -> Course:
        """Attempt after attempt, until the operation is decided or its deadline has come."""
        clock = self.run_now.clock
        course = Course(clock.now(), self.run_now.options.deadline, self.random.uniform)
        while (remaining := course.remaining(clock.now())) > 0:
            if not self.run_now.turns.acquire(timeout=remaining):
                course.take(Attempt(FAIL, "no turn before the deadline", again=False))
                break
            try:
                attempt = self._attempt(method, path, name, judge, operation, course, request)
            finally:
                self.run_now.turns.release()
            pause = course.take(attempt)
            if pause is None:
                break
            gevent.sleep(pause)
        return course

    def _attempt(
        self, method: str, path: str, name: str, judge: Judge, operation: str | None, course: Course,
        request: dict[str, Any],
    ) -> Attempt:  # fmt: skip
        begun = self.run_now.clock.now()
        size = 0
        try:
            reply = self.client.request(method, path, limit=max(0.001, course.remaining(begun)), **request)
        except FAILURES as error:
            attempt = judge_error(error)
        else:
            attempt, size = judge(reply), reply.size
        self.run_now.publish(
            method, name, self.run_now.clock.now() - begun, "https", size=size, operation=operation,
            error=None if attempt.outcome == OK else attempt.detail, attempt=course.attempts + 1, writer=self.writer,
        )  # fmt: skip
        return attempt
