"""What a database cluster's builders are given, and the settings that make it safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from okitoki.kube import labels, names

SCOPE = names.POSTGRES
SCOPE_LABEL = "cluster-name"
"""Patroni finds its members by this label and its scope."""
ROLE_LABEL = "role"
"""Patroni keeps `primary` or `replica` here on each pod: `kubectl get pods -L role`."""
DATA_VOLUME = "data"
UID = 999


def claim_of(member: str) -> str:
    """The claim of a member's volume, as the StatefulSet names it."""
    return f"{DATA_VOLUME}-{member}"


def member_of(claim: str) -> str | None:
    """The member whose volume a claim is for; None for a claim of anything else."""
    return claim.removeprefix(f"{DATA_VOLUME}-") if claim.startswith(claim_of(f"{SCOPE}-")) else None


@dataclass(frozen=True, slots=True)
class DatabaseCluster:
    """One cluster: where it lives and what it is made of."""

    tenant: str
    namespace: str
    operator_namespace: str
    instances: int
    storage: str
    """Size of a new member's volume, such as `1Gi`."""
    storage_bytes: int
    image: str

    @property
    def synchronous_nodes(self) -> int:
        """How many standbys a commit waits for: one of two or three, two of four."""
        return max(1, self.instances // 2)

    @property
    def members(self) -> list[str]:
        """Names of the members' pods and Services."""
        return [f"{names.POSTGRES}-{index}" for index in range(self.instances)]

    def labels(self) -> dict[str, str]:
        """Labels of its objects."""
        return labels.owned(names.POSTGRES, tenant=self.tenant)

    def selector(self) -> dict[str, str]:
        """Labels that select its pods."""
        return labels.selector(names.POSTGRES, tenant=self.tenant)

    def metadata(self, name: str) -> dict[str, Any]:
        """`metadata` of an object of this cluster."""
        return {"name": name, "namespace": self.namespace, "labels": self.labels()}


def dynamic_configuration(cluster: DatabaseCluster) -> dict[str, Any]:
    """Patroni's dynamic configuration: in the store, the same for all members, changed through its REST API.

    `ttl` is Patroni's minimum; it must be ≥ loop_wait + 2 × retry_timeout. Strict quorum commit: without a standby that
    confirms, writes wait rather than be lost. Failsafe mode: an outage of the Kubernetes API does not demote a primary
    that reaches all members. Figures: design.md, "Failover, by server".
    """
    megabyte = 1024 * 1024
    return {
        "ttl": 20,
        "loop_wait": 3,
        "retry_timeout": 8,
        "maximum_lag_on_failover": megabyte,
        "check_timeline": True,
        "failsafe_mode": True,
        "synchronous_mode": "quorum",
        "synchronous_mode_strict": True,
        "synchronous_node_count": cluster.synchronous_nodes,
        # A crashed primary gets this long to recover in place before another takes over.
        "primary_start_timeout": 30,
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {
                "max_connections": 100,
                "shared_buffers": "64MB",
                "wal_level": "replica",
                "wal_log_hints": "on",
                "max_wal_senders": 10,
                "max_replication_slots": 10,
                "wal_keep_size": "64MB",
                "max_wal_size": "128MB",
                # A lost member must not fill the primary's disk; it is cloned anew instead.
                "max_slot_wal_keep_size": f"{cluster.storage_bytes // 4 // megabyte}MB",
                "synchronous_commit": "on",
                "wal_sender_timeout": "5s",
                "wal_receiver_timeout": "5s",
                "wal_retrieve_retry_interval": "100ms",
                "password_encryption": "scram-sha-256",
                "tcp_keepalives_idle": 5,
                "tcp_keepalives_interval": 2,
                "tcp_keepalives_count": 3,
                "log_checkpoints": "off",
            },
        },
    }


def needed_changes(wanted: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The part of `wanted` that `found` does not say, as a patch for Patroni's `PATCH /config`; empty when none.

    Settings that others added are left alone. Patroni keeps numbers and words as they were given.
    """
    changes: dict[str, Any] = {}
    for key, value in wanted.items():
        if isinstance(value, dict):
            inner = needed_changes(value, found.get(key) if isinstance(found.get(key), dict) else {})  # type: ignore[arg-type]
            if inner:
                changes[key] = inner
        elif found.get(key) != value:
            changes[key] = value
    return changes
