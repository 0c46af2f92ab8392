"""Faults of whole pods and containers: killed, deleted, deleted with their volume."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from okitoki_chaos import scripts
from okitoki_chaos.cluster import ChaosError, Cluster, Pod, pods
from okitoki_chaos.driver import Driver, verify
from okitoki_chaos.faults import base
from okitoki_chaos.faults.base import Fault, Parameters
from okitoki_chaos.steps import Check, Plan, Step
from okitoki_chaos.timeline import Timeline
from okitoki_chaos.world import Target, World


@dataclass(frozen=True)
class Killed:
    """A fault that bit: when the signal was sent, when nothing was left, and what is to be replaced."""

    pod: Pod
    pids: tuple[int, ...]
    at: float
    gone_at: float

    def as_json(self) -> dict[str, Any]:
        return {
            "pod": self.pod.title,
            "uid": self.pod.uid,
            "node": self.pod.node,
            "processes": len(self.pids),
            "at": self.at,
            "goneAt": self.gone_at,
        }


def first_pids(cluster: Cluster, pod: Pod) -> tuple[int, ...]:
    """The first processes, on the node, of the pod's sandbox and containers. With each of them its pid namespace goes,
    and so does every other process of the pod."""
    living = tuple(one.pid for one in base.first_processes(cluster, pod))
    if not living:
        raise ChaosError(f"{pod.title} has no process on {pod.node}: there is nothing to kill")
    return living


def replaced_or_going(pod: Pod) -> Check:
    """The pod is gone, going, or another one of its name."""
    step = Step(
        "kubectl",
        ("get", "pod", "-n", pod.namespace, pod.name, "--ignore-not-found",
         "-o", "jsonpath={.metadata.uid} {.metadata.deletionTimestamp}"),
    )  # fmt: skip
    return Check(f"{pod.title} is gone or going", step, rf"^(?!{re.escape(pod.uid)}\s*$)")


def force_delete(pod: Pod) -> Step:
    arguments = ("delete", "pod", "-n", pod.namespace, pod.name, "--force", "--grace-period=0", "--wait=false",
                 "--ignore-not-found")  # fmt: skip
    return Step("kubectl", arguments)


def kill_plan(cluster: Cluster, pod: Pod, target: str = "") -> Plan:
    """SIGKILL everything in the pod, then delete it by force."""
    pids = first_pids(cluster, pod)
    return Plan(
        "pod-kill",
        target or pod.title,
        inject=(base.kill(pod.node, pids, f"everything of {pod.title}"), force_delete(pod)),
        bit=(replaced_or_going(pod),),
        namespaces=(pod.namespace,),
        facts={"pod": pod.title, "node": pod.node, "uid": pod.uid, "pids": list(pids)},
    )


def kill_server(driver: Driver, pod: Pod, timeline: Timeline, *, selector: str, others_ready: int) -> Killed:
    """Do `kill_plan`; returns only when the fault has bitten.

    Refuses when fewer than `others_ready` other pods of the selector are ready: a drill shows what the platform
    survives, and it does not promise to survive losing the last one.
    """
    others = [one for one in pods(driver.cluster, pod.namespace, selector) if one.uid != pod.uid and one.ready]
    if len(others) < others_ready:
        raise ChaosError(f"refusing to kill {pod.title}: {len(others)} others are ready, {others_ready} are needed")
    plan = kill_plan(driver.cluster, pod)
    pids = tuple(plan.facts["pids"])
    timeline.note("killing", pod=pod.title, node=pod.node, processes=len(pids))
    output = driver.run(plan.inject[0]).split()
    killed = Killed(pod, pids, float(output[0]), float(output[-1]))
    timeline.note("killed", **killed.as_json())
    for step in plan.inject[1:]:
        driver.run(step)
    for check in plan.bit:
        verify(driver, check)
    return killed


def wait_replaced(
    cluster: Cluster,
    killed: Killed,
    timeline: Timeline,
    *,
    selector: str,
    count: int,
    limit: float,
    progress: Callable[[str], None] = lambda _: None,
    interval: float = 0.5,
) -> float:
    """Wait until `count` pods are ready and none of them is the killed one. Returns the time (epoch seconds)."""
    begun = time.monotonic()
    last = ""
    while True:
        found = pods(cluster, killed.pod.namespace, selector)
        state = ", ".join(f"{pod.name} {_word(pod, killed)}" for pod in found) or "no pods"
        if state != last:
            last = state
            progress(state)
        if replaced(found, killed, count):
            return float(timeline.note("replaced", pod=killed.pod.title, pods=state)["at"])
        if time.monotonic() - begun > limit:
            raise ChaosError(f"{killed.pod.title} was not replaced within {limit:.0f} s: {state}")
        time.sleep(interval)


def replaced(found: list[Pod], killed: Killed, count: int) -> bool:
    """Whether as many pods as wanted are ready, without the killed one."""
    good = [pod for pod in found if pod.stands]
    return len(good) == len(found) == count and all(pod.uid != killed.pod.uid for pod in found)


def _word(pod: Pod, killed: Killed) -> str:
    if pod.uid == killed.pod.uid:
        return "still the killed one"
    return "going" if pod.deleting else "ready" if pod.ready else "starting"


def plan_kill(world: World, target: Target, parameters: Parameters) -> Plan:
    """SIGKILL of everything in a pod, and the pod deleted by force."""
    return kill_plan(world.cluster, target.pod, target.title)


def plan_container(world: World, target: Target, parameters: Parameters) -> Plan:
    """SIGKILL of one container's first process: the kubelet restarts it in place."""
    pod = target.pod
    names = base.names_of(parameters, "container")
    (identity, *more) = base.containers(pod, names)
    if more:
        raise ChaosError(f"{pod.title} has {len(more) + 1} containers: name the one to kill")
    first = base.container_process(world.cluster, pod, identity)
    if first is None:
        raise ChaosError(f"{pod.title}: the first process of {names} ended before it could be killed")
    return Plan(
        "container-kill",
        target.title,
        inject=(base.kill(pod.node, [first.pid], f"the first process of {', '.join(names)} of {pod.title}"),),
        bit=(base.gone(pod.node, [first.mark]),),
        namespaces=(pod.namespace,),
        facts={"pod": pod.title, "node": pod.node},
    )


def plan_delete(world: World, target: Target, parameters: Parameters) -> Plan:
    """The pods deleted as a person would do it: they may end in their own time."""
    chosen = target.pods
    namespace = chosen[0].namespace
    names = [pod.name for pod in chosen]
    return Plan(
        "pod-delete",
        target.title,
        inject=(Step("kubectl", ("delete", "pod", "-n", namespace, *names, "--wait=false")),),
        bit=tuple(replaced_or_going(pod) for pod in chosen),
        namespaces=(namespace,),
        facts={"pods": [pod.title for pod in chosen], "nodes": [pod.node for pod in chosen]},
    )


def plan_with_volume(world: World, target: Target, parameters: Parameters) -> Plan:
    """A member killed, and its volume deleted: it comes back with nothing."""
    pod = target.pod
    claim = f"data-{pod.name}"
    uid = world.cluster.kubectl("get", "pvc", "-n", pod.namespace, claim, "-o", "jsonpath={.metadata.uid}").strip()
    killing = kill_plan(world.cluster, pod, target.title)
    look = Step(
        "kubectl",
        ("get", "pvc", "-n", pod.namespace, claim, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}"),
    )
    delete = Step("kubectl", ("delete", "pvc", "-n", pod.namespace, claim, "--wait=false"))
    return Plan(
        "pod-and-volume",
        target.title,
        inject=(delete, *killing.inject),
        bit=(*killing.bit, Check(f"the volume of {claim} is another or none", look, f"^(?!{re.escape(uid)})", 60)),
        namespaces=(pod.namespace,),
        facts={**killing.facts, "claim": claim, "volumeUid": uid},
    )


def plan_back_off(world: World, target: Target, parameters: Parameters) -> Plan:
    """One container killed as soon as it runs, until the kubelet makes it wait (CrashLoopBackOff)."""
    pod = target.pod
    names = base.names_of(parameters, "container")
    base.containers(pod, names)
    name = names[0] if names else pod.container_names[0]
    base.require_tool(world, pod.node, "crictl")
    seconds = int(parameters.get("seconds", 90))
    script = scripts.script(
        pod.node, "back-off", scripts.BACK_OFF, pod.uid, name, str(seconds),
        words=f"SIGKILL to {name} of {pod.title} whenever it runs, for up to {seconds} s, until it is held back",
    )  # fmt: skip
    waiting = "jsonpath={.status.containerStatuses[*].state.waiting.reason} {.status.containerStatuses[*].restartCount}"
    look = Step("kubectl", ("get", "pod", "-n", pod.namespace, pod.name, "-o", waiting))
    return Plan(
        "restart-back-off",
        target.title,
        inject=(script,),
        bit=(Check(f"{pod.title} waits in CrashLoopBackOff", look, "CrashLoopBackOff", 20),),
        namespaces=(pod.namespace,),
        facts={"pod": pod.title, "node": pod.node},
    )


FAULTS = (
    Fault("pod-kill", "SIGKILL of everything in a pod, then the pod deleted by force", plan_kill),
    Fault("container-kill", "SIGKILL of a container's first process", plan_container),
    Fault("pod-delete", "pods deleted, with their grace period", plan_delete),
    Fault("pod-and-volume", "a database member killed and its volume deleted", plan_with_volume),
    Fault("restart-back-off", "a container killed again and again until the kubelet holds it back", plan_back_off),
)
