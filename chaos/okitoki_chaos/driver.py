"""Who carries out a fault's steps, and what cannot be done with it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from okitoki_chaos.cluster import ChaosError, Cluster
from okitoki_chaos.steps import Check, Plan, Step

POLL_INTERVAL = 0.1


class NotPossible(ChaosError):
    """A fault that this driver cannot do here; reported as an outcome of its own, never left out in silence."""

    @classmethod
    def with_driver(cls, name: str, why: str) -> NotPossible:
        return cls(f"not possible with the driver {name}: {why}")


@dataclass(frozen=True)
class Deed:
    """What is done to machines: the parts of a plan that depend on the driver."""

    inject: tuple[Step, ...]
    bit: tuple[Check, ...]
    undo: tuple[Step, ...]
    healed: tuple[Check, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """A node's way to everybody else: its device, and what a cut must leave open (nft expressions by direction as the
    node sees it), so that whoever undoes the cut still reaches the node. `seconds`: the kernel forgets the cut then."""

    device: str
    spared: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: int | None = None


class Driver(Protocol):
    """Runs steps. `name` stands in reports; `cannot` says of faults why it never does them."""

    name: str
    cannot: Mapping[str, str]
    spared_ports: Mapping[str, Sequence[str]]
    """What every rule of a partition or a loss lets through, by direction (nft expressions)."""

    @property
    def cluster(self) -> Cluster: ...

    def run(self, step: Step) -> str: ...

    def pause(self, nodes: Sequence[str]) -> Deed: ...

    def power_off(self, nodes: Sequence[str], *, returns: bool = True) -> Deed:
        """`returns`: it is on again after a moment as well; False: it stays off for as long as the fault is held."""

    def link(self, node: str) -> Link: ...

    def require(self, plan: Plan) -> None:
        """Raises NotPossible where it cannot carry out this plan here and now."""


class KindDriver:
    """Nodes are containers of a Docker daemon: `docker exec` is a root shell on a node, `docker pause` freezes it."""

    name = "kind"
    cannot: Mapping[str, str] = {
        "clock-step": "containers have no clock of their own, and the machine's is everybody's, the clients' too",
    }
    spared_ports: Mapping[str, Sequence[str]] = {}

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def require(self, plan: Plan) -> None:
        """The machine's daemon reaches every node at all times."""

    def link(self, node: str) -> Link:
        return Link("eth0")

    def pause(self, nodes: Sequence[str]) -> Deed:
        listed = ", ".join(nodes)
        return Deed(
            inject=(Step("machine", ("pause",), tuple(nodes)),),
            bit=(state(nodes, "paused", f"{listed} is paused"),),
            undo=(Step("machine", ("unpause",), tuple(nodes)),),
            healed=(state(nodes, "running", f"{listed} runs"),),
        )

    def power_off(self, nodes: Sequence[str], *, returns: bool = True) -> Deed:
        """All at the same moment; undone by starting them under their old addresses."""
        places = {node: self._place(node) for node in nodes}
        listed = ", ".join(nodes)
        return Deed(
            inject=(Step("machine", ("kill",), tuple(nodes)),),
            bit=(state(nodes, "exited", f"{listed} is off"),),
            # The control plane first: the others' kubelets ask it for everything.
            undo=tuple(
                Step("machine", ("start", *places[node]), (node,))
                for node in sorted(nodes, key=lambda node: "control-plane" not in node)
            ),
            healed=(state(nodes, "running", f"{listed} runs"),),
            facts={"addresses": {node: address for node, (_, address) in places.items()}},
        )

    def _place(self, node: str) -> tuple[str, str]:
        """The machine's network and its address there."""
        networks = json.loads(self.cluster.docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", node))
        if len(networks) != 1:
            raise ChaosError(f"{node} is in {len(networks)} networks, not in one")
        ((name, settings),) = networks.items()
        return str(name), str(settings["IPAddress"])

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


def state(nodes: Sequence[str], wanted: str, words: str) -> Check:
    """All of these machines are in a state of Docker's."""
    lines = r"\s+".join([wanted] * len(nodes))
    return Check(words, Step("machine", ("state",), tuple(nodes)), rf"^{lines}\s*$", 30)


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
