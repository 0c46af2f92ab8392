"""What state a cluster's members are in, as their pods and Patroni's store tell. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from okitoki.database.spec import ROLE_LABEL, SCOPE
from okitoki.kube.resources import Manifest, annotation, condition, condition_is_true

SYNC_CONFIG_MAP = f"{SCOPE}-sync"


@dataclass(frozen=True, slots=True)
class Member:
    """One member: `role` is Patroni's label, `state` its own word (`running`, `streaming`, `starting`, …)."""

    name: str
    role: str
    state: str
    ready: bool
    address: str
    problem: str
    """Why the pod does not run, in Kubernetes' words; empty when it does."""
    timeline: int = 0
    """PostgreSQL's timeline, as Patroni tells it; 0 when it does not."""

    @property
    def in_order(self) -> bool:
        """A primary that runs, or a standby that streams."""
        return self.ready and self.state in ({"running"} if self.role == "primary" else {"streaming"})


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """The cluster."""

    members: tuple[Member, ...]
    voters: tuple[str, ...]
    """Standbys of which the primary waits for some (Patroni's sync key)."""

    @property
    def primary(self) -> Member | None:
        """The member that takes writes."""
        return next((member for member in self.members if member.role == "primary" and member.ready), None)

    @property
    def in_order(self) -> int:
        """How many members are in order."""
        return sum(member.in_order for member in self.members)


def database_state(pods: Sequence[Manifest], sync: Manifest | None) -> DatabaseState:
    """The state, from the members' pods and ConfigMap `postgres-sync`."""
    voters = [name for name in annotation(sync, "sync_standby").split(",") if name]
    members = sorted((_member(pod) for pod in pods), key=lambda member: member.name)
    return DatabaseState(tuple(members), tuple(sorted(voters)))


def _member(pod: Mapping[str, Any]) -> Member:
    metadata, status = pod["metadata"], pod.get("status") or {}
    try:
        patroni = json.loads(annotation(pod, "status") or "{}")
    except ValueError:
        patroni = {}
    ready = pod_ready(pod)
    return Member(
        name=metadata["name"],
        role=(metadata.get("labels") or {}).get(ROLE_LABEL, ""),
        # Patroni 4 tells "replication_state": "streaming" beside the server's own state.
        state=str(patroni.get("replication_state") or patroni.get("state") or ""),
        ready=ready,
        address=status.get("podIP", ""),
        problem="" if ready else pod_problem(pod),
        timeline=timeline if isinstance(timeline := patroni.get("timeline"), int) else 0,
    )


def pod_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is ready and not on its way out."""
    return condition_is_true(pod, "Ready") and not pod["metadata"].get("deletionTimestamp")


def pod_problem(pod: Mapping[str, Any]) -> str:
    """Why a pod is not ready: unschedulable, an image that cannot be pulled, a crash; empty when it merely starts."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return "terminating"
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"not scheduled: {scheduled.get('message', '')}"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{container['name']}: {waiting['reason']}"
    return ""
