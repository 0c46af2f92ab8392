"""`promote`: another primary for a Tenant's database, planned and without loss (decisions 10 and 16)."""

from __future__ import annotations

from typing import Any

from okitoki_kubectl.cluster import Cluster
from okitoki_kubectl.commands.status import tenant
from okitoki_kubectl.view import Row
from okitoki_kubectl.waiting import Failed, Waiter

SWITCHOVER = "platform.oki-toki.net/switchover"
PATIENCE_SECONDS = 60.0
SEEN_SECONDS = 15.0
"""For the operator to see the new primary, once the hand-over has been answered."""


def promote(cluster: Cluster, name: str, member: str | None, waiter: Waiter) -> list[Row]:
    """Have `member`, or whichever synchronous standby has most, take the database over; raises `Failed`,
    `KubectlError`. Who may is the operator's to say: it knows more than a status that is a moment old."""
    before = _database(cluster, name).get("primary")
    request = f"{waiter.stamp()} {member}" if member else waiter.stamp()
    cluster.annotate("tenants", name, SWITCHOVER, request)

    def answered() -> tuple[dict[str, Any] | None, str]:
        found = _database(cluster, name).get("lastSwitchover") or {}
        return (found if found.get("requested") == request else None), f"{name}: asked for another primary"

    answer, _ = waiter.until(answered, PATIENCE_SECONDS)
    if answer is None:
        raise Failed(
            f"no answer in {PATIENCE_SECONDS:.0f} s: does the operator run? See kubectl okitoki status {name}, and "
            f"kubectl annotate tenant {name} {SWITCHOVER}- to take a request back that is still there"
        )
    if not answer["succeeded"]:
        raise Failed(f"the primary of {name} was not changed: {answer['message']}")

    def seen() -> tuple[str | None, str]:
        primary = _database(cluster, name).get("primary")
        return (primary if primary and primary != before else None), f"{name}: {answer['message']}"

    primary, _ = waiter.until(seen, SEEN_SECONDS)
    return [{"tenant": name, "from": before, "to": primary or member, "result": answer["message"]}]


def _database(cluster: Cluster, name: str) -> dict[str, Any]:
    return (tenant(cluster, name).get("status") or {}).get("database") or {}
