"""Which edge pod is to give its addresses away because somebody services its node. Pure (decision 16).

What is asked for is a state and no event: the annotation `drained-node` of the VoiceRegion stands for as long as the
node is serviced, so a pod that comes back there (a reboot) is marked again. The mark is an annotation of the pod, which
its agent follows; whether it may really leave its addresses, with calls on them, the agent decides at each moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from okitoki.voiceregion.facts import ADDRESSES, EdgePod

DrainState = Literal["Waiting", "Moving", "Drained"]


@dataclass(frozen=True, slots=True)
class Drain:
    """`node`: which is asked for, None when none is. `mark`: the pod to be marked now. `unmark`: pods whose mark is to
    go. `message`: how far it is, and why not further."""

    node: str | None
    state: DrainState | None = None
    message: str = ""
    mark: EdgePod | None = None
    unmark: tuple[EdgePod, ...] = ()


def decide_drain(requested: str | None, pods: Sequence[EdgePod]) -> Drain:
    """`requested`: the annotation's value, the name of a node."""
    node = requested or None
    unmark = tuple(pod for pod in pods if pod.drain and (node is None or pod.node != node))
    if node is None:
        return Drain(None, unmark=unmark)
    pod = next((pod for pod in pods if pod.node == node and not pod.terminating), None)
    if pod is None:
        there = ", ".join(pod.node for pod in pods if pod.node and not pod.terminating) or "no node"
        text = (
            f"no edge pod of the region runs on {node} now, they run on {there}; one that comes there holds no address"
        )
        return Drain(node, "Waiting", text, unmark=unmark)
    if pod.drain:
        return _under_way(node, pod, pods, unmark)
    if unmark:
        return Drain(node, "Waiting", f"{unmark[0].name} on {unmark[0].node} is let serve again first", unmark=unmark)
    if obstacle := _obstacle(pod, pods):
        return Drain(node, "Waiting", f"{obstacle}: to move what {pod.name} holds would cost calls; mend that first")
    return Drain(node, "Moving", f"{pod.name} is told to give its addresses away", mark=pod)


def _under_way(node: str, pod: EdgePod, pods: Sequence[EdgePod], unmark: tuple[EdgePod, ...]) -> Drain:
    others = [name for name in ADDRESSES if any(name in other.holds for other in pods if other is not pod)]
    if pod.drained and not pod.holds and len(others) == len(ADDRESSES):
        text = (
            f"{pod.name} on {node} holds no address and gets none: the node can be serviced; calls have no second node"
        )
        return Drain(node, "Drained", text, unmark=unmark)
    still = f"{pod.name} still holds {', '.join(pod.holds)}" if pod.holds else "the addresses are on their way"
    why = next((reason for reason in pod.unprotected_because if "serves on" in reason), "")
    return Drain(node, "Moving", f"{still}{f': {why}' if why else ''}", unmark=unmark)


def _obstacle(pod: EdgePod, pods: Sequence[EdgePod]) -> str:
    """Why the other pod could not take over without loss; empty when it could."""
    other = next((item for item in pods if item is not pod and not item.terminating), None)
    if other is None:
        return "the region has no other edge pod"
    if not other.ready:
        return f"{other.name} is not ready{f' ({other.problem})' if other.problem else ''}"
    for item in (other, pod):
        if pod.holds and not item.protected:
            because = "; ".join(item.unprotected_because) or "its agent has not said so"
            return f"{item.name} is not protected: {because}"
    return ""
