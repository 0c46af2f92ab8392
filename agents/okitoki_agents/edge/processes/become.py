"""Waiting for a state, and becoming the real process."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import NoReturn

from okitoki_agents.edge.facts import Paths

log = logging.getLogger(__name__)

_STEP = 0.1
_REMIND = 30.0


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; says in the log what it waits for, now and then."""
    started, reminded = time.monotonic(), float("-inf")
    while not condition():
        now = time.monotonic()
        if now - reminded > _REMIND:
            log.info("waiting for %s (%.0f s so far)", what, now - started)
            reminded = now
        time.sleep(_STEP)


def become(paths: Paths, name: str, *command: str) -> NoReturn:
    """Leave the pid for the guard and exec `command`."""
    write_pid(paths, name)
    log.info("becoming %s", command[0])
    os.execvp(command[0], command)  # noqa: S606 - the point of this module


def write_pid(paths: Paths, name: str) -> None:
    """The pid is the same before and after the exec; written whole, because the guard reads it at any moment."""
    paths.pid.mkdir(parents=True, exist_ok=True)
    temporary = paths.pid / f".{name}"
    temporary.write_text(f"{os.getpid()}\n")
    temporary.replace(paths.pid / name)
