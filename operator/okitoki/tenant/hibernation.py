"""What of a tenant runs in each `spec.state`, and in which order it stops. Pure (docs/decisions/0013)."""

from __future__ import annotations

from dataclasses import dataclass

from okitoki.api.tenant import Tenant
from okitoki.kube import names
from okitoki.reconcile.conditions import Condition, progressing, resting
from okitoki.tenant.build.common import database_cluster
from okitoki.tenant.facts import Observed

KIND = "Hibernated"


@dataclass(frozen=True, slots=True)
class Running:
    """How many pods shall run now. `waiting` says what the next step waits for, empty when there is none;
    `announce`: the members are to be told that all of them stop, which is what the next step waits for."""

    app: int
    database: int
    waiting: str = ""
    announce: bool = False


def running(tenant: Tenant, observed: Observed) -> Running:
    """Asleep: first the app, so that no write is on its way; then the database, from a state in which another member
    than the primary has every acknowledged write. What the cluster shows is the only memory: a database that was
    scaled to nothing stays so although its primary is gone."""
    instances = tenant.spec.database.instances
    if tenant.spec.state != "Paused":
        return Running(tenant.spec.app.replicas, instances)
    if _stopped(observed):
        return Running(0, 0, _ending(observed))
    if observed.app.pods:
        return Running(0, instances, f"waiting for {observed.app.pods} pods of {names.APP} to end")
    if obstacle := _obstacle(tenant, observed):
        return Running(0, instances, f"the database is not stopped yet: {obstacle}")
    if not observed.stop_announced:
        return Running(0, instances, "the members of the database are told that all of them stop", announce=True)
    return Running(0, 0, "the database stops")


def hibernated(tenant: Tenant, observed: Observed) -> Condition:
    """Of a paused tenant: whether it sleeps."""
    found = running(tenant, observed)
    if found.waiting:
        return progressing(KIND, "Stopping", found.waiting)
    volumes = len(observed.volumes.sizes)
    kept = f"its data are kept on {volumes} volumes" if volumes else "it has no data yet"
    text = f"spec.state is Paused: no pod runs, {kept}, calls are refused; set it to Active to wake the tenant"
    return resting(KIND, "Paused", text)


def _stopped(observed: Observed) -> bool:
    """A database that never was, or whose StatefulSet somebody removed, is made with nothing to run."""
    if observed.database_replicas is None:
        return not observed.database.members
    return observed.database_replicas == 0


def _ending(observed: Observed) -> str:
    pods = [member.name for member in observed.database.members]
    if observed.app.pods:
        return f"waiting for {observed.app.pods} pods of {names.APP} to end"
    return f"waiting for {', '.join(pods)} to end" if pods else ""


def _obstacle(tenant: Tenant, observed: Observed) -> str:
    """Why stopping now would leave the tenant with less than it may lose one server of; empty when nothing speaks
    against it."""
    state, needed = observed.database, database_cluster(tenant, observed).synchronous_nodes
    if observed.dynamic_configuration is None:
        return "it is still being made"
    if state.primary is None or not state.primary.in_order:
        return "no member takes writes now; a failover is let finish first"
    streaming = sum(member.in_order for member in state.members if member.name in state.voters)
    if streaming < needed:
        return f"{streaming} of {needed} synchronous standbys stream from {state.primary.name}"
    return ""
