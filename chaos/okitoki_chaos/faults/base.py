"""What every fault is, and what they have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from okitoki_chaos import scripts
from okitoki_chaos.cluster import ChaosError, Cluster, Pod
from okitoki_chaos.steps import Check, Plan, Step
from okitoki_chaos.world import Target, World

Parameters = Mapping[str, Any]
Planner = Callable[[World, Target, Parameters], Plan]


@dataclass(frozen=True)
class Fault:
    """A kind of fault. `plan` reads the cluster and changes nothing; it raises NotPossible where a driver cannot do
    it, and ChaosError where there is no such target."""

    name: str
    words: str
    plan: Planner


@dataclass(frozen=True)
class Process:
    """A process of a container, as its node numbers it. `start` (ticks) tells it from a later one of its number."""

    pid: int
    start: int
    first: bool
    command: str

    @property
    def mark(self) -> str:
        return f"{self.pid}:{self.start}"


def containers(pod: Pod, names: Sequence[str]) -> tuple[str, ...]:
    """Ids of a pod's running containers of these names (all when none is named)."""
    found = tuple(
        identity
        for identity, name in zip(pod.containers, pod.container_names, strict=True)
        if not names or name in names
    )
    if not found:
        raise ChaosError(f"{pod.title} runs no container {' or '.join(names) or 'at all'}")
    return found


def processes(world: World, pod: Pod, names: Sequence[str], pattern: str) -> list[Process]:
    """Running processes of a pod's containers whose command line matches (a bash regex)."""
    step = scripts.script(pod.node, "list", scripts.LIST, pattern, *containers(pod, names))
    found = []
    for line in world.driver.run(step).splitlines():
        pid, start, first, command = line.split(" ", 3)
        found.append(Process(int(pid), int(start), first == "1", command))
    if not found:
        raise ChaosError(f"{pod.title} runs no process that matches {pattern!r}")
    return found


def sandbox_pids(cluster: Cluster, pod: Pod) -> list[int]:
    """The first processes, on the node, of the pod's sandboxes; 0 of one that has ended."""
    listed = cluster.on_node(pod.node, "crictl", "pods", "-q", "--label", f"io.kubernetes.pod.uid={pod.uid}")
    return [_pid(cluster, pod, "inspectp", sandbox) for sandbox in listed.split()]


def container_pid(cluster: Cluster, pod: Pod, identity: str) -> int:
    """The first process, on the node, of a container; 0 when it has ended."""
    return _pid(cluster, pod, "inspect", identity)


def _pid(cluster: Cluster, pod: Pod, command: str, identity: str) -> int:
    return int(json.loads(cluster.on_node(pod.node, "crictl", command, "-o", "json", identity))["info"]["pid"])


def first_process(world: World, pod: Pod) -> int:
    """The pid, on its node, of the pod's sandbox: its network namespace is the pod's."""
    living = [pid for pid in sandbox_pids(world.cluster, pod) if pid > 1]
    if not living:
        raise ChaosError(f"{pod.title} has no sandbox on {pod.node}")
    return living[0]


def gone(node: str, marks: Sequence[str]) -> Check:
    """Processes that no longer live."""
    step = scripts.script(node, "living", scripts.LIVING, *marks)
    return Check(f"process {', '.join(mark.partition(':')[0] for mark in marks)} is gone", step, "^gone$")


def kill(node: str, pids: Sequence[int], whose: str) -> Step:
    words = f"SIGKILL to {whose} (pid {', '.join(map(str, pids))}) on {node}"
    return scripts.script(node, "kill", scripts.KILL, *map(str, pids), words=words)


def names_of(parameters: Parameters, key: str) -> tuple[str, ...]:
    """A parameter that is a name, several, or not given."""
    value = parameters.get(key, ())
    return (value,) if isinstance(value, str) else tuple(value)
