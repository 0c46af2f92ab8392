"""A run from Locust's first event to the verdict, in each of its roles: alone, master, worker."""

from __future__ import annotations

import json
import logging
import secrets
import sys
import time
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
from gevent import subprocess
from gevent.lock import RLock
from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from okitoki_locust import children
from okitoki_locust.collect import Collector, Courier
from okitoki_locust.options import OptionError, Options, add_arguments, read_secrets
from okitoki_locust.run import GRACE_SECONDS, Run
from okitoki_locust.shapes import SHAPES
from okitoki_locust.switchboard import END_SECONDS, Switchboard

DELIVERY_SECONDS = 30.0
# Records from before the run's start may belong to operations that were due at once; clocks may differ a little.
SINCE_SECONDS = 60.0
BAD_OPTIONS, UNDELIVERED = 2, 4

log = logging.getLogger(__name__)


class Life:
    """What this process has going on."""

    def __init__(self) -> None:
        self.environment: Environment | None = None
        self.run: Run | None = None
        self.switchboard: Switchboard | None = None
        self.starting = RLock()  # users start at the same time, and one process has all their phones
        self.agents: list[tuple[str, str]] | None = None
        self.collector: Collector | None = None
        self.courier: Courier | None = None
        self.conclusion: gevent.Greenlet | None = None
        self.name: str | None = None
        self.workers: set[int] = set()

    def options(self) -> Options:
        """Raises OptionError."""
        if self.environment is None:
            raise RuntimeError("Locust has not begun")
        return Options.read(given(self.environment), self.environment.host)

    @property
    def leads(self) -> bool:
        """Whether this process decides what a run is called and judges it."""
        return self.environment is not None and not isinstance(self.environment.runner, WorkerRunner)

    @property
    def works(self) -> bool:
        """Whether this process has users."""
        return self.environment is not None and not isinstance(self.environment.runner, MasterRunner)


LIFE = Life()


def given(environment: Environment) -> Namespace:
    """The arguments as parsed; what is added to the master's reaches the workers."""
    options = environment.parsed_options
    return options if options is not None else Namespace()


def current() -> Run | None:
    """This process's run; None before the start and when the options are wrong."""
    return LIFE.run


def switchboard() -> Switchboard:
    """The phones of this process, started when the first is needed. Raises PhonesError."""
    run = LIFE.run
    if run is None or run.options.phones is None:
        raise RuntimeError("there is no run with phones")
    with LIFE.starting:
        if LIFE.switchboard is None:
            LIFE.switchboard = Switchboard(run, run.options.phones)
    return LIFE.switchboard


def next_agent() -> tuple[str, str] | None:
    """An agent that no phone has yet, and its secret; None when all have one. Raises OptionError."""
    run = LIFE.run
    if LIFE.agents is None and run is not None and run.options.phones is not None:
        path = run.options.phones.secrets_file
        if path is None:
            raise OptionError("--agents-file: give the agents' secrets to run agents")
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise OptionError(f"--agents-file {path}: {error.strerror}") from error
        LIFE.agents = sorted(read_secrets(text).items())[run.worker % workers() :: workers()]
    return LIFE.agents.pop(0) if LIFE.agents else None


def workers() -> int:
    """How many processes have users in this run."""
    return int(getattr(given(LIFE.environment), "okitoki_workers", 1)) if LIFE.environment else 1


def complain(text: str) -> None:
    """Something the user has to mend. Told once to each place where somebody may look."""
    log.error(text)
    if LIFE.environment is not None:
        LIFE.environment.process_exit_code = BAD_OPTIONS
    if LIFE.run is not None:
        LIFE.run.publish("CLIENT", "options", 0.0, "client", error=text)


def install() -> None:
    """Listen to Locust. A locustfile calls this once."""
    events.init_command_line_parser.add_listener(add_arguments)
    events.init.add_listener(on_init)
    events.test_start.add_listener(on_test_start)
    events.test_stop.add_listener(on_test_stop)
    events.quitting.add_listener(on_quitting)
    events.request.add_listener(on_request)


def on_init(environment: Environment, **_: Any) -> None:
    """Wrong options end a headless run before it begins; with the web page they may still be mended there."""
    LIFE.environment = environment
    # Locust sets the timer of --run-time next, and gevent counts it from when its loop last looked at the clock: before
    # all the imports, which take seconds on a busy machine.
    gevent.get_hub().loop.update_now()
    arguments = given(environment)
    if not LIFE.leads:
        return
    if arguments.headless:
        try:
            LIFE.options()
        except OptionError as error:
            print(error, file=sys.stderr)
            sys.exit(BAD_OPTIONS)
    for user in environment.user_classes:
        if counted := getattr(user, "counted_by", None):
            user.fixed_count = int(getattr(arguments, counted))
    if (shape := SHAPES.get(arguments.shape)) is not None:
        environment.shape_class = shape()
        environment.shape_class.runner = environment.runner
    if isinstance(environment.runner, MasterRunner):
        LIFE.collector = Collector(Path(arguments.ledger), arguments.collect_port)


def on_test_start(environment: Environment, **_: Any) -> None:
    """The leader names the run; Locust brings the name to the workers with the options."""
    environment.process_exit_code = None
    LIFE.agents = None
    try:
        options = LIFE.options()
        if LIFE.leads:
            _lead(environment, options)
        if LIFE.works:
            _work(environment, options, given(environment).okitoki_run)
    except (OptionError, OSError) as error:
        LIFE.run = None
        complain(str(error))
        if LIFE.leads and environment.runner is not None:
            gevent.spawn_later(0.1, environment.runner.stop)


def _lead(environment: Environment, options: Options) -> None:
    name = f"load-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    runner = environment.runner
    LIFE.name = name
    LIFE.workers = {0}
    if isinstance(runner, MasterRunner):
        active = runner.clients.ready + runner.clients.spawning + runner.clients.running
        LIFE.workers = {runner.get_worker_index(client.id) for client in active}
    given(environment).okitoki_run = name
    given(environment).okitoki_workers = len(LIFE.workers)
    folder = options.ledger / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(facts(options, environment, name), indent=1), encoding="utf-8")
    if LIFE.collector is not None:
        LIFE.collector.expect(name)
    log.info("run %s, results in %s", name, folder)


def facts(options: Options, environment: Environment, name: str) -> dict[str, Any]:
    """What `okitoki_load check` has to know, and what a reader wants to; the API key itself is not among it."""
    target, arguments = options.target, given(environment)
    since = datetime.fromtimestamp(time.time() - SINCE_SECONDS, UTC)
    return {
        "address": target.address,
        "host": target.host,
        "port": target.port,
        "ca": str(target.ca.resolve()) if target.ca else "",
        "key_file": str(target.key_file.resolve()),
        "run": name,
        "since": since.isoformat(timespec="seconds"),
        "workers": sorted(LIFE.workers),
        "patience": options.patience,
        "context": {
            "seed": options.seed,
            "rate": options.rate,
            "users": arguments.num_users,
            "shape": arguments.shape,
            "runTime": arguments.run_time,
            "numbers": options.numbers,
            "deadline": options.deadline,
        },
    }


def _work(environment: Environment, options: Options, name: str) -> None:
    runner = environment.runner
    worker = int(getattr(runner, "worker_index", 0))
    if isinstance(runner, WorkerRunner):
        # The master may be on this very machine and collects into the same folder.
        local = Path(options.ledger) / "workers"
        options = Options(**{**vars(options), "ledger": local})
        LIFE.run = Run(options, name, worker, environment.events.request.fire)
        port = given(environment).collect_port
        LIFE.courier = Courier(LIFE.run.book.path, name, worker, (runner.master_host, port))
    else:
        LIFE.run = Run(options, name, worker, environment.events.request.fire)


def on_request(**event: Any) -> None:
    """Every request of every user, ours or not."""
    if LIFE.run is not None:
        LIFE.run.taken(**event)


def on_test_stop(environment: Environment, **_: Any) -> None:
    """The users are gone; what they began goes on to its end here, whatever --stop-timeout is."""
    run = LIFE.run
    if run is not None:
        run.drain()
        if LIFE.switchboard is not None:
            LIFE.switchboard.end()
            LIFE.switchboard = None
        run.end()
        LIFE.run = None
    if LIFE.courier is not None:
        if LIFE.courier.finish(DELIVERY_SECONDS):
            # Failed requests are the master's to judge, not this process's failure.
            environment.process_exit_code = environment.process_exit_code or 0
        else:
            environment.process_exit_code = UNDELIVERED
            log.error("the ledger could not be brought to the master; it is kept in %s", run.book.path if run else "-")
        LIFE.courier = None
    if LIFE.leads and LIFE.name is not None:
        LIFE.conclusion = gevent.spawn(_conclude, environment, LIFE.options(), LIFE.name)
        LIFE.name = None


def _conclude(environment: Environment, options: Options, name: str) -> None:
    """All ledgers together, then the judge."""
    if LIFE.collector is not None:
        limit = options.deadline + GRACE_SECONDS + DELIVERY_SECONDS + (END_SECONDS if options.phones else 0.0)
        until = time.monotonic() + limit + float(environment.stop_timeout or 0)
        while not LIFE.collector.complete(LIFE.workers) and time.monotonic() < until:
            gevent.sleep(0.2)
    if given(environment).judge != "yes" or environment.process_exit_code == BAD_OPTIONS:
        return
    folder = options.ledger / name
    command = [
        sys.executable,
        "-m",
        "okitoki_load",
        "check",
        "--config",
        str(folder / "run.json"),
        "--out",
        str(folder),
    ]
    # In a process of its own: it runs on asyncio, which Locust's patched sockets are no place for.
    done = subprocess.run(command, env=children.environment())
    environment.process_exit_code = done.returncode


def on_quitting(environment: Environment, **_: Any) -> None:
    """The process must not end before its run is judged, not on a signal either."""
    if environment.runner is not None and not isinstance(environment.runner, WorkerRunner):
        environment.runner.quit()
    if LIFE.conclusion is not None:
        LIFE.conclusion.join()
    if LIFE.collector is not None:
        LIFE.collector.close()
