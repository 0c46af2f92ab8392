"""Agents and callers: phones of `okitoki_phones` that Locust starts. Give --sip and what goes with it."""

from __future__ import annotations

import gevent
from locust import User, task
from locust.exception import StopUser

from okitoki_load.ledger import CALL
from okitoki_load.operations import Operations
from okitoki_locust import lifecycle
from okitoki_locust.options import OptionError, Phones
from okitoki_locust.run import Run
from okitoki_locust.schedule import OpenSchedule

# Callers begin when the agents of their process are registered, or after this, and then the calls tell.
REGISTRATION_SECONDS = 10.0


class PhoneUser(User):
    """What both have in common."""

    abstract = True

    def on_start(self) -> None:
        run = lifecycle.current()
        if run is None or run.options.phones is None:
            lifecycle.complain("--sip: give the region's SIP address to run agents and callers")
            raise StopUser
        self.run_now: Run = run
        self.phones: Phones = run.options.phones


class AgentUser(PhoneUser):
    """One agent's phone: registers, answers, talks. It stays until the run ends, whatever Locust ramps down."""

    counted_by = "agents"

    def on_start(self) -> None:
        super().on_start()
        try:
            pair = lifecycle.next_agent()
        except OptionError as error:
            lifecycle.complain(str(error))
            raise StopUser from error
        if pair is None:
            lifecycle.complain("--agents-file: has fewer agents than there are agent users")
            raise StopUser
        lifecycle.switchboard().add_agent(*pair)

    def wait_time(self) -> float:
        return 1.0

    @task
    def be_there(self) -> None:
        """The phone acts by itself."""
        gevent.sleep(0)


class CallerUser(PhoneUser):
    """Calls through the carrier's side, one every --call-every seconds however the earlier ones fare."""

    counted_by = "callers"

    def on_start(self) -> None:
        super().on_start()
        if self.phones.trunk is None:
            lifecycle.complain("--trunk: give the address that the region knows as a carrier to run callers")
            raise StopUser
        options = self.run_now.options
        name = self.run_now.writer_name()
        self.operations = Operations(run=self.run_now.name, name=name, number=options.numbers[0], seed=options.seed)
        random = self.operations.random
        self.callee_ends = False
        lifecycle.switchboard().wait_registered(self.phones.agents // lifecycle.workers(), REGISTRATION_SECONDS)
        self.schedule = OpenSchedule(self.phones.call_every, self.run_now.clock.now, random.random())
        gevent.sleep(self.schedule.wait())

    def wait_time(self) -> float:
        return self.schedule.wait()

    @task
    def call(self) -> None:
        self.run_now.begin(self._call, self.schedule.take())

    def _call(self, due: float) -> None:
        random = self.operations.random
        number = random.choice(self.run_now.options.numbers)
        operation = self.operations.other(CALL, {"number": number, "caller": self.phones.caller}, due)
        self.run_now.book.intend(operation)
        self.callee_ends = not self.callee_ends
        lifecycle.switchboard().call(operation, random.uniform(*self.phones.talk), callee_ends=self.callee_ends)
