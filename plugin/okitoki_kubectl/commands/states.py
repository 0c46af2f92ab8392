"""`hibernate` and `wake`: a Tenant that sleeps and one that serves (decision 13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from okitoki_kubectl.cluster import Cluster, Resource
from okitoki_kubectl.commands.status import tenant
from okitoki_kubectl.view import Row, condition
from okitoki_kubectl.waiting import Failed, Waiter

REACHED = {"Paused": "Paused", "Active": "Ready"}
"""By state: the reason of `Ready` once it is reached."""


def hibernate(cluster: Cluster, name: str, wait_seconds: float | None, waiter: Waiter) -> list[Row]:
    """Put a Tenant to sleep; with `wait_seconds` also until it sleeps. Raises `Failed`, `KubectlError`."""
    return _become(cluster, name, "Paused", "Active", wait_seconds, waiter)


def wake(cluster: Cluster, name: str, wait_seconds: float | None, waiter: Waiter) -> list[Row]:
    """Wake a Tenant that sleeps, or is on its way to; with `wait_seconds` also until it serves. Raises `Failed`,
    `KubectlError`."""
    return _become(cluster, name, "Active", "Paused", wait_seconds, waiter)


def _become(
    cluster: Cluster, name: str, wanted: str, before: str, wait_seconds: float | None, waiter: Waiter
) -> list[Row]:
    state = tenant(cluster, name)["spec"].get("state", "Active")
    if state not in (wanted, before):
        # Waking makes it Active: nobody shall serve a suspended or restricted company again by way of a nap.
        raise Failed(
            f"{name} is {state}, neither Active nor Paused, and would come back as Active: if that is meant, "
            f'kubectl patch tenant {name} --type=merge -p \'{{"spec": {{"state": "{wanted}"}}}}\''
        )
    if state == before:
        cluster.change("tenants", name, "/spec/state", before, wanted)
    if wait_seconds is None:
        return [_row(tenant(cluster, name))]

    def reached() -> tuple[Resource | None, str]:
        found = tenant(cluster, name)
        if found["spec"].get("state", "Active") != wanted:
            raise Failed(f"{name} is to be {found['spec']['state']} now: somebody else has changed spec.state")
        ready = condition(found, "Ready")
        current = _current(found, ready)
        done = current and ready.get("status") == "True" and ready.get("reason") == REACHED[wanted]
        progress = f"{ready['reason']}: {ready['message']}" if current else "the operator has not seen it yet"
        return (found if done else None), f"{name}: {progress}"

    found, progress = waiter.until(reached, wait_seconds)
    if found is None:
        raise Failed(
            f"{name} is not {wanted} after {wait_seconds:.0f} s ({progress}); it is still asked to be: wait on with "
            f"kubectl okitoki {'hibernate' if wanted == 'Paused' else 'wake'} {name} --wait, or turn back with "
            f"kubectl okitoki {'wake' if wanted == 'Paused' else 'hibernate'} {name}"
        )
    return [_row(found)]


def _current(found: Resource, ready: Mapping[str, Any]) -> bool:
    """Whether the condition is of the spec as it is now."""
    return bool(ready.get("observedGeneration", 0) >= found["metadata"].get("generation", 1))


def _row(found: Resource) -> Row:
    ready = condition(found, "Ready")
    seen = _current(found, ready)
    status = found.get("status") or {}
    return {
        "tenant": found["metadata"]["name"],
        "state": found["spec"].get("state", "Active"),
        "ready": ready.get("status", "Unknown") if seen else "Unknown",
        "members": (status.get("database") or {}).get("members"),
        "app": (status.get("app") or {}).get("replicas"),
        "message": ready.get("message") if seen else "asked for; --wait waits until it is so",
    }
