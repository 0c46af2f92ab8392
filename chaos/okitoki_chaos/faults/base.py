"""What every fault is, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from okitoki_chaos import scripts
from okitoki_chaos.cluster import ChaosError, Cluster, Pod
from okitoki_chaos.driver import NotPossible
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
    found = _matching(world.cluster, pod, *containers(pod, names), pattern=pattern)
    if not found:
        raise ChaosError(f"{pod.title} runs no process that matches {pattern!r}")
    return found


def _matching(cluster: Cluster, pod: Pod, *keys: str, pattern: str = ".") -> list[Process]:
    """Running processes, on the pod's node, in control groups that one of the keys is part of."""
    step = scripts.script(pod.node, "list", scripts.LIST, pattern, *keys)
    found = {}
    for line in cluster.on_node(pod.node, *step.arguments).splitlines():
        pid, start, first, command = line.split(" ", 3)
        found[int(pid)] = Process(int(pid), int(start), first == "1", command)
    return list(found.values())


def first_processes(cluster: Cluster, pod: Pod) -> list[Process]:
    """Of a pod's sandbox all processes, of each of its containers the oldest: those live as long as what they are of.

    Control groups of a pod carry its uid, with `-` or, where systemd makes them, with `_`.
    """
    rest = {one.pid: one for one in _matching(cluster, pod, pod.uid, pod.uid.replace("-", "_"))}
    found = []
    for identity in pod.containers:
        members = _matching(cluster, pod, identity)
        if (first := oldest(members)) is not None:
            found.append(first)
        for one in members:
            rest.pop(one.pid, None)
    return [*rest.values(), *found]


def oldest(found: Sequence[Process]) -> Process | None:
    """The one that was there first; what was executed into a container later is younger. Pure."""
    return min(found, key=lambda one: (one.start, one.pid), default=None)


def container_process(cluster: Cluster, pod: Pod, identity: str) -> Process | None:
    """The first process, on the node, of a container; None when it has ended."""
    return oldest(_matching(cluster, pod, identity))


def first_process(world: World, pod: Pod) -> int:
    """The pid, on its node, of a process of the pod, whose network namespace is the pod's."""
    for identity in pod.containers:
        if (found := container_process(world.cluster, pod, identity)) is not None:
            return found.pid
    raise ChaosError(f"{pod.title} has no process on {pod.node}")


def gone(node: str, marks: Sequence[str]) -> Check:
    """Processes that no longer live."""
    step = scripts.script(node, "living", scripts.LIVING, *marks)
    return Check(f"process {', '.join(mark.partition(':')[0] for mark in marks)} is gone", step, "^gone$")


def kill(node: str, pids: Sequence[int], whose: str) -> Step:
    words = f"SIGKILL to {whose} (pid {', '.join(map(str, pids))}) on {node}"
    return scripts.script(node, "kill", scripts.KILL, *map(str, pids), words=words)


def require_tool(world: World, node: str, tool: str) -> None:
    """Raises NotPossible when a node has no such program, neither beside its shell nor in its own file system."""
    look = f"command -v {tool} || nsenter -t 1 -m -- sh -c 'command -v {tool}' || echo none"
    if world.cluster.on_node(node, "bash", "-c", look).strip() == "none":
        raise NotPossible.with_driver(world.driver.name, f"{node} has no {tool}")


def names_of(parameters: Parameters, key: str) -> tuple[str, ...]:
    """A parameter that is a name, several, or not given."""
    value = parameters.get(key, ())
    return (value,) if isinstance(value, str) else tuple(value)
