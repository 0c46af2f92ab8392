"""Who carries out a fault's steps, and what cannot be done with it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Protocol

from okitoki_chaos.cluster import ChaosError, Cluster
from okitoki_chaos.steps import Check, Step

POLL_INTERVAL = 0.1


class NotPossible(ChaosError):
    """A fault that this driver cannot do here; reported as an outcome of its own, never left out in silence."""


class Driver(Protocol):
    """Runs steps. `name` stands in reports."""

    name: str

    @property
    def cluster(self) -> Cluster: ...

    def run(self, step: Step) -> str: ...


class KindDriver:
    """The nodes are containers of a Docker daemon: `docker exec` is a root shell on a node, `docker pause` freezes it.

    It cannot step a clock (all nodes share the machine's) nor fill one volume (they lie on the machine's disk).
    """

    name = "kind"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def run(self, step: Step) -> str:
        """Its output. Raises what the cluster's tools raise."""
        if step.tool == "kubectl":
            return self.cluster.kubectl(*step.arguments)
        if step.tool == "node":
            return self.cluster.on_node(step.where[0], *step.arguments)
        return self._machine(step)

    def _machine(self, step: Step) -> str:
        verb, *rest = step.arguments
        if verb in {"pause", "unpause", "kill"}:
            return self.cluster.docker(verb, *step.where)
        if verb == "state":
            return self._state(*step.where)
        if verb == "start":
            return self._start(step.where[0], *rest)
        raise ValueError(f"unknown verb for a machine: {verb}")

    def _state(self, *nodes: str) -> str:
        return self.cluster.docker("inspect", "--format", "{{.State.Status}}", *nodes)

    def _start(self, node: str, network: str, address: str) -> str:
        """Start a node that was killed, under the address that it had: Docker would give it any other.

        One that runs is left alone: to take its network away would be a fault of its own.
        """
        if self._state(node).strip() == "running":
            return "running already"
        self.cluster.docker("network", "disconnect", "--force", network, node)
        self.cluster.docker("network", "connect", "--ip", address, network, node)
        return self.cluster.docker("start", node)


def attempt(driver: Driver, step: Step) -> str:
    """A step's output, or its error's text: a check may look for either."""
    try:
        return driver.run(step)
    except ChaosError as error:
        return f"error: {error}"


def verify(driver: Driver, check: Check, *, clock: Callable[[], float] = time.monotonic) -> str:
    """Wait until the check holds; returns what matched. Raises ChaosError with the last output when it never does."""
    until = clock() + check.within
    while True:
        output = attempt(driver, check.step).strip()
        if re.search(check.pattern, output):
            return output
        if clock() > until:
            raise ChaosError(f"within {check.within:.0f} s it was not seen that {check.words}: {output[-300:]!r}")
        time.sleep(POLL_INTERVAL)
