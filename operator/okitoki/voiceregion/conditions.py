"""One pure function per condition of a VoiceRegion, and its status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube import labels, names
from okitoki.reconcile.certificate import certificate_current, certificate_status
from okitoki.reconcile.conditions import Condition, failing, good, progressing
from okitoki.reconcile.kind import Outcome
from okitoki.reconcile.ownership import namespace_owned
from okitoki.voiceregion.drain import Drain, decide_drain
from okitoki.voiceregion.facts import ADDRESSES, REPLICAS, EdgePod, Observed
from okitoki.voiceregion.rollout import next_action
from okitoki.voiceregion.trunks import trunk_reachable, trunk_status, trunks
from okitoki.voiceregion.validity import invalid_because

MOVE_SECONDS = 15.0
"""VRRP takes under a second; the pods' reports of it a few, more on a busy node."""


def conditions(region: VoiceRegion, observed: Observed, outcome: Outcome) -> list[Condition]:
    """All of them, causes before effects."""
    return [
        namespace_owned(observed.namespace, names.region_namespace(region.metadata.name), "region"),
        configuration_valid(region, observed),
        addresses_held(observed),
        edge_redundant(region, observed),
        trunk_reachable(trunks(observed.pods)),
        *rolling_out(observed, outcome),
        certificate_current(
            observed.authorities,
            observed.secrets.tls,
            observed.use,
            region.metadata.annotations,
            datetime.fromtimestamp(observed.now, UTC),
        ),
    ]


def configuration_valid(region: VoiceRegion, observed: Observed) -> Condition:
    """Whether the addresses are the region's to take."""
    kind = "ConfigurationValid"
    if problem := invalid_because(region, observed):
        reason, message = problem
        return failing(kind, reason, f"{message}; what runs goes on, nothing is changed until then")
    return good(kind, "Valid", "the region's addresses are nobody else's")


def addresses_held(observed: Observed) -> Condition:
    """Whether each address is on one node, and on one only. A move takes moments and is no news."""
    kind, held = "AddressesHeld", holders(observed.pods)
    wrong = [name for name in ADDRESSES if len(held[name]) != 1]
    if wrong and all(is_moving(name, observed) for name in wrong):
        return good(kind, "Moving", f"{', '.join(wrong)} moving to another node")
    twice = [f"{name} on {' and '.join(held[name])}" for name in wrong if held[name]]
    if twice:
        return failing(
            kind,
            "HeldTwice",
            f"{', '.join(twice)}: the nodes do not see each other; look at the network between them",
        )
    if not wrong:
        return good(kind, "EachOnOneNode", ", ".join(f"{name} on {pods[0]}" for name, pods in held.items()))
    text = f"no node has {', '.join(wrong)}"
    # VRRP gives the addresses away one by one, a moment after the first node is ready; that is no failure.
    arriving = any(is_moving(name, observed) for name in ADDRESSES) and not any(
        name in pod.since for pod in observed.pods for name in wrong
    )
    if arriving or not any(pod.holds or pod.protected for pod in observed.pods):
        return progressing(kind, "Starting", f"{text} yet")
    return failing(kind, "NotHeld", f"{text}: calls or requests to it fail; see the pods' logs (guard, keepalived)")


def is_moving(name: str, observed: Observed) -> bool:
    """Whether a node has got or lost the address so lately that the other's word may still be on its way."""
    return any(observed.now - pod.since.get(name, 0.0) < MOVE_SECONDS for pod in observed.pods)


def settles_in(observed: Observed) -> float | None:
    """Seconds after which a move must be over and the addresses be looked at again; None when nothing moves."""
    if any(len(pods) != 1 and is_moving(name, observed) for name, pods in holders(observed.pods).items()):
        return MOVE_SECONDS
    return None


def edge_redundant(region: VoiceRegion, observed: Observed) -> Condition:
    """Whether the loss of either node would cost no call."""
    kind, pods = "EdgeRedundant", observed.pods
    usable = [node.name for node in observed.nodes if node.matches]
    if len(usable) < REPLICAS:
        return failing(
            kind,
            "NotEnoughNodes",
            f"spec.nodeSelector selects {len(usable)} schedulable node{'' if len(usable) == 1 else 's'}, {REPLICAS} "
            "are needed: label another one, or uncordon it",
        )
    problems = [f"{pod.name} {_pod_problem(pod)}" for pod in pods if _pod_problem(pod)]
    if len(pods) < REPLICAS:
        problems.append(f"{len(pods)} of {REPLICAS} pods exist")
    if not problems:
        return good(kind, "Protected", f"each of {REPLICAS} nodes could take everything of the other")
    text = "; ".join(problems)
    asked = drain(region, observed)
    if asked.state == "Drained" and problems == [f"{pod.name} {_pod_problem(pod)}" for pod in pods if pod.drain]:
        name = region.metadata.name
        return progressing(kind, "Drained", f"{asked.message}; kubectl okitoki drain-edge {name} --undo ends that")
    if any(pod.ready for pod in pods):
        return progressing(kind, "NotProtected", f"the loss of a node would cost calls: {text}")
    return progressing(kind, "NotReady", text)


def drain(region: VoiceRegion, observed: Observed) -> Drain:
    """What is to be done about a node that somebody services."""
    return decide_drain(region.metadata.annotations.get(labels.DRAINED_NODE), observed.pods)


def rolling_out(observed: Observed, outcome: Outcome) -> list[Condition]:
    """`Progressing`, only while pods have an old template; it says what the next one waits for. No part in `Ready`."""
    if not observed.workload.exists:
        return []
    decision = next_action(observed.pods, observed.workload.revision)
    if decision.step == "done" or not any(pod.revision != observed.workload.revision for pod in observed.pods):
        return []
    failed = next((error for error in outcome.acted.values() if error), None)
    text = f"{decision.reason}{f': {failed}' if failed else ''}"
    return [Condition("Progressing", "True", "RollingOut", text, abnormal=True)]


def holders(pods: tuple[EdgePod, ...]) -> dict[str, list[str]]:
    """Pods that hold each address, by address.

    A pod's word counts while it can still give it: not from a node that died, of which the API server learns after 40
    s. So if two claim an address and one of them says that the other does not answer, while the other thinks all is
    well, the other's word is old. When both say so the network is split and both may well hold it.
    """
    held: dict[str, list[EdgePod]] = {name: [pod for pod in pods if name in pod.holds] for name in ADDRESSES}
    for claimants in held.values():
        if len(claimants) == REPLICAS and any(pod.peer_answers for pod in claimants):
            trusted = [pod for pod in claimants if not pod.peer_answers and pod.ready]
            claimants[:] = trusted or claimants
        elif len(claimants) == REPLICAS and any(not pod.ready for pod in claimants):
            claimants[:] = [pod for pod in claimants if pod.ready] or claimants
    return {name: [pod.name for pod in claimants] for name, claimants in held.items()}


def _pod_problem(pod: EdgePod) -> str:
    if pod.terminating:
        return "ends"
    if not pod.ready:
        return f"is not ready{f' ({pod.problem})' if pod.problem else ''}"
    if not pod.protected:
        return f"is not protected ({'; '.join(pod.unprotected_because) or 'its agent has not said so'})"
    return ""


def _drain_status(found: Drain) -> dict[str, str] | None:
    if found.node is None or found.state is None:
        return None
    return {"node": found.node[:253], "state": found.state, "message": found.message[:1024]}


def status(region: VoiceRegion, observed: Observed) -> Mapping[str, Any]:
    """The rest of the status (`okitoki.api.status.VoiceRegionStatus`)."""
    certificate = certificate_status(observed.authorities, observed.secrets.tls, observed.use)
    if observed.namespace == "foreign":
        return {"certificate": certificate}
    ready = sum(1 for pod in observed.pods if pod.ready and not pod.terminating)
    return {
        "namespace": names.region_namespace(region.metadata.name),
        "members": f"{ready}/{REPLICAS}",
        "holders": {name: pods[0] for name, pods in holders(observed.pods).items() if pods},
        "nodes": {pod.name: pod.node for pod in observed.pods if pod.node},
        "tenants": observed.tenants,
        "trunks": trunk_status(trunks(observed.pods)) or None,
        "certificate": certificate,
        "drain": _drain_status(drain(region, observed)),
    }
