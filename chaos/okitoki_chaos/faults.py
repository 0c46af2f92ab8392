"""Killing a server: every process of a pod at once, as when its machine loses power, then the pod itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from okitoki_chaos.cluster import ChaosError, Cluster, Pod, pods
from okitoki_chaos.timeline import Timeline

GONE_SECONDS = 10

# Prints the time before the signal and the time when nothing was left; the node has the cluster's only clock.
KILL_SCRIPT = f"""
set -u
date +%s.%N
kill -KILL "$@"
for _ in $(seq {GONE_SECONDS * 100}); do
  left=
  for pid in "$@"; do
    state=$(awk '/^State:/ {{print $2}}' "/proc/$pid/status" 2>/dev/null)
    if [ -n "$state" ] && [ "$state" != Z ]; then left=$pid; fi
  done
  if [ -z "$left" ]; then date +%s.%N; exit 0; fi
  sleep 0.01
done
echo "process $left lives on" >&2
exit 1
"""


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
    sandboxes = cluster.on_node(pod.node, "crictl", "pods", "-q", "--label", f"io.kubernetes.pod.uid={pod.uid}").split()
    found = [int(_inspect(cluster, pod.node, "inspectp", sandbox)["info"]["pid"]) for sandbox in sandboxes]
    found += [int(_inspect(cluster, pod.node, "inspect", one)["info"]["pid"]) for one in pod.containers]
    living = tuple(pid for pid in found if pid > 1)
    if not living:
        raise ChaosError(f"{pod.title} has no process on {pod.node}: there is nothing to kill")
    return living


def _inspect(cluster: Cluster, node: str, command: str, identity: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.on_node(node, "crictl", command, "-o", "json", identity))
    return found


def kill_server(cluster: Cluster, pod: Pod, timeline: Timeline, *, selector: str, others_ready: int) -> Killed:
    """SIGKILL everything in the pod, then delete it by force; returns only when the fault has bitten.

    Refuses when fewer than `others_ready` other pods of the selector are ready: a drill shows what the platform
    survives, and it does not promise to survive losing the last one.
    """
    others = [one for one in pods(cluster, pod.namespace, selector) if one.uid != pod.uid and one.ready]
    if len(others) < others_ready:
        raise ChaosError(f"refusing to kill {pod.title}: {len(others)} others are ready, {others_ready} are needed")
    pids = first_pids(cluster, pod)
    timeline.note("killing", pod=pod.title, node=pod.node, processes=len(pids))
    output = cluster.on_node(pod.node, "bash", "-c", KILL_SCRIPT, "kill", *map(str, pids)).split()
    killed = Killed(pod, pids, float(output[0]), float(output[-1]))
    timeline.note("killed", **killed.as_json())
    cluster.kubectl(
        "delete", "pod", "-n", pod.namespace, pod.name, "--force", "--grace-period=0", "--wait=false",
        "--ignore-not-found",
    )  # fmt: skip
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
    good = [pod for pod in found if pod.ready and not pod.deleting]
    return len(good) == len(found) == count and all(pod.uid != killed.pod.uid for pod in found)


def _word(pod: Pod, killed: Killed) -> str:
    if pod.uid == killed.pod.uid:
        return "still the killed one"
    return "going" if pod.deleting else "ready" if pod.ready else "starting"
