"""A cluster in memory, clocks that a test moves, and the two resources as `kubectl` gives them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from okitoki_kubectl.cluster import Cluster, KubectlError
from okitoki_kubectl.waiting import Waiter

SINCE = "2026-11-25T12:00:00Z"


def condition(kind: str, value: str, message: str = "fine", reason: str = "R", generation: int = 1) -> dict[str, Any]:
    return {
        "type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": SINCE,
        "observedGeneration": generation,
    }  # fmt: skip


class Fake(Cluster):
    """`operator` is called after each look at a resource: what the operator does meanwhile. `changes` is what was asked
    for, in order."""

    def __init__(self, operator: Callable[[Fake], None] = lambda _: None) -> None:
        super().__init__()
        self.operator = operator
        self.changes: list[tuple[str, ...]] = []
        self.tenant: dict[str, Any] = {
            "kind": "Tenant",
            "metadata": {"name": "acme", "generation": 1, "annotations": {}},
            "spec": {"state": "Active"},
            "status": {
                "conditions": [condition("Ready", "False", "DatabaseReady: no member takes writes now")],
                "database": {"members": "2/3", "lastSwitchover": {"requested": "old", "succeeded": True}},
                "app": {"replicas": "2/2"},
                "numbers": 0,
            },
        }
        self.region: dict[str, Any] = {
            "kind": "VoiceRegion",
            "metadata": {"name": "kyiv", "annotations": {}},
            "status": {
                "conditions": [condition("EdgeRedundant", "True"), condition("Ready", "True")],
                "members": "2/2",
                "holders": {"sip": "edge-0", "https": "edge-1"},
                "nodes": {"edge-0": "node-a", "edge-1": "node-b"},
                "tenants": 1,
            },
        }

    def all(self, kind: str) -> list[dict[str, Any]]:
        return {"tenants": [self.tenant], "voiceregions": [self.region]}[kind]

    def one(self, kind: str, name: str) -> dict[str, Any] | None:
        found = next((copy.deepcopy(item) for item in self.all(kind) if item["metadata"]["name"] == name), None)
        self.operator(self)
        return found

    def annotate(self, kind: str, name: str, key: str, value: str) -> None:
        found = {"tenants": self.tenant, "voiceregions": self.region}[kind]["metadata"]
        assert found["name"] == name
        if key in found["annotations"]:
            raise KubectlError("--overwrite is false but found the following declared annotation(s)")
        found["annotations"][key] = value
        self.changes.append((name, key, value))

    def unannotate(self, kind: str, name: str, key: str) -> None:
        found = {"tenants": self.tenant, "voiceregions": self.region}[kind]["metadata"]
        del found["annotations"][key]
        self.changes.append((name, key))

    def change(self, kind: str, name: str, path: str, before: str, after: str) -> None:
        assert (kind, path, self.tenant["spec"]["state"]) == ("tenants", "/spec/state", before)
        self.tenant["spec"]["state"] = after
        self.tenant["metadata"]["generation"] += 1
        self.changes.append((name, path, after))


class Clock:
    """Time passes only by waiting."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.told: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def waiter(self) -> Waiter:
        return Waiter(
            now=lambda: datetime(2026, 11, 25, 12, 0, tzinfo=UTC),
            clock=lambda: self.seconds,
            sleep=self.sleep,
            tell=self.told.append,
        )
