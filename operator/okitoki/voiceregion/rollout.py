"""When the edge gets a new pod template, one node at a time and without dropping a call. Pure.

The StatefulSet is `OnDelete`: nothing restarts until `next_action` names a pod. Deleting it runs its preStop hooks,
which move the addresses to the other node first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from okitoki.voiceregion.facts import REPLICAS, EdgePod

Step = Literal["done", "wait", "restart"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about the rollout now, and why. `pod`: which to restart."""

    step: Step
    reason: str
    pod: EdgePod | None = None


def next_action(pods: Sequence[EdgePod], revision: str) -> Decision:
    """The next step towards `revision` (the StatefulSet's update revision; empty: not known yet).

    - A pod of an old template that is not ready and holds nothing is replaced at once: nobody misses it, and it may
    be broken
      because of its template, which no waiting mends.
    - A pod that carries anything is touched only while both are ready and protected: the other one has its calls.
    - First the one that holds fewer addresses, so that most of them move once.
    """
    stale = [pod for pod in pods if pod.revision != revision]
    if not revision:
        return Decision("wait", "the StatefulSet controller has not seen the newest template yet")
    if not stale and len(pods) == REPLICAS:
        return Decision("done", "both pods run the newest template")
    if leaving := [pod for pod in pods if pod.terminating]:
        return Decision("wait", f"{leaving[0].name} is giving its addresses away and ends")
    broken = [pod for pod in stale if not pod.ready and not pod.holds]
    if broken:
        return Decision("restart", f"{broken[0].name} is not ready, holds nothing and has an old template", broken[0])
    if len(pods) < REPLICAS:
        return Decision("wait", f"{len(pods)} of {REPLICAS} pods exist")
    for pod in pods:
        if not pod.ready:
            return Decision("wait", f"{pod.name} is not ready{f' ({pod.problem})' if pod.problem else ''}")
        if not pod.protected:
            because = "; ".join(pod.unprotected_because) or "its agent has not said so"
            return Decision("wait", f"{pod.name} is not protected: {because}")
    chosen = min(stale, key=lambda pod: (len(pod.holds), -pod.ordinal))
    others = f"the other pod has everything {chosen.name} has"
    return Decision("restart", f"{chosen.name} has an old template and {others}", chosen)
