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


PRECEDENCE = {
    "keepalived": 40,
    "guard": 30,
    "rtpengine-1": 20,
    "rtpengine-2": 20,
    "kamailio": 10,
    "redis": 10,
    "tunnel": 20,
}
"""Real-time priorities: who must not wait for whom. HAProxy and the agent take their turn with everyone."""


def become(paths: Paths, name: str, *command: str) -> NoReturn:
    """Leave the pid for the guard and exec `command`."""
    prepare(paths, name)
    log.info("becoming %s", command[0])
    os.execvp(command[0], command)  # noqa: S606 - the point of this module


def prepare(paths: Paths, name: str) -> None:
    """What every process does before it begins its work."""
    if name in PRECEDENCE:
        take_precedence(PRECEDENCE[name])
    write_pid(paths, name)


def take_precedence(priority: int) -> None:
    """Ask the scheduler to run this process before others: adverts, probes and audio that wait for the processor look
    like a dead node. Real time where the kernel allows it to containers, else the best nice value; needs CAP_SYS_NICE.

    `priority`: 1 to 99 (sched(7)). Inherited by exec and by children.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
    except OSError as refused:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -19)
        except OSError as error:
            log.warning("no precedence over other processes (%s): give the container SYS_NICE", error.strerror)
        else:
            log.info("no real-time scheduling here (%s): nice -19", refused.strerror)


def write_pid(paths: Paths, name: str) -> None:
    """The pid is the same before and after the exec; written whole, because the guard reads it at any moment."""
    paths.pid.mkdir(parents=True, exist_ok=True)
    temporary = paths.pid / f".{name}"
    temporary.write_text(f"{os.getpid()}\n")
    temporary.replace(paths.pid / name)
