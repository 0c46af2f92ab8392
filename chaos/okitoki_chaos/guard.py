"""When a drill refuses: without consent, without a healthy quorum, beside another drill, on somebody else's cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from okitoki_chaos.cluster import ChaosError, Cluster
from okitoki_chaos.steps import Plan
from okitoki_chaos.whole import platform_faults
from okitoki_chaos.world import RESOURCES, SYSTEM_NAMESPACE, World

CONSENT = "platform.oki-toki.net/chaos"
ALLOWED = "allowed"
LEASE = "okitoki-drill"
LEASE_SECONDS = 1800


class Refused(ChaosError):
    """A drill that must not begin; says what is missing."""


def consenting(namespaces: Sequence[Mapping[str, Any]], resources: Sequence[Mapping[str, Any]]) -> set[str]:
    """Namespaces that carry the opt-in label, or whose Tenant or VoiceRegion does. Pure."""
    prefix = {"Tenant": "tenant-", "VoiceRegion": "okitoki-region-"}
    found = {obj["metadata"]["name"] for obj in namespaces if _consents(obj)}
    return found | {f"{prefix[obj['kind']]}{obj['metadata']['name']}" for obj in resources if _consents(obj)}


def _consents(obj: Mapping[str, Any]) -> bool:
    return bool(obj["metadata"].get("labels", {}).get(CONSENT) == ALLOWED)


def refusal(plan: Plan, consent: set[str], faults: Sequence[str]) -> str | None:
    """Why a plan must not be carried out, or None. Pure."""
    missing = sorted(set(plan.namespaces) - consent)
    if missing:
        return f"{', '.join(missing)}: neither namespace nor resource carries the label {CONSENT}={ALLOWED}"
    if not plan.namespaces:
        return "it is not known whom this concerns, so nobody can have agreed to it"
    return f"not everything is well before: {'; '.join(faults)}" if faults else None


def require(world: World, plan: Plan) -> None:
    """Raise Refused unless everybody concerned agreed and the quorum is healthy."""
    namespaces = json.loads(world.cluster.kubectl("get", "namespaces", "-o", "json"))["items"]
    resources = json.loads(world.cluster.kubectl("get", RESOURCES, "-o", "json"))["items"]
    faults = platform_faults(world.cluster, world.objects)
    if why := refusal(plan, consenting(namespaces, resources), faults):
        raise Refused(f"refusing {plan.fault} on {plan.target}: {why}")


class ClusterLock:
    """One drill at a time: a Lease in the platform's namespace. It is renewed between faults, since the API server
    itself may be away during one."""

    def __init__(self, cluster: Cluster, holder: str) -> None:
        self._cluster = cluster
        self._holder = holder

    def take(self) -> None:
        """Take or renew it. Raises Refused while another drill has it."""
        found = self._read()
        now = datetime.now(UTC)
        if found is None:
            self._create(now)
            return
        if other := held_by_other(found, self._holder, now):
            raise Refused(f"refusing: another drill runs ({other})")
        spec = {"holderIdentity": self._holder, "renewTime": _stamp(now), "leaseDurationSeconds": LEASE_SECONDS}
        # The version makes it one holder's: of two that saw an expired lease, one is refused by the API server.
        patch = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "spec": spec}
        self._cluster.kubectl("patch", "lease", LEASE, "-n", SYSTEM_NAMESPACE, "--type=merge", "-p", json.dumps(patch))

    def _read(self) -> Mapping[str, Any] | None:
        output = self._cluster.kubectl(
            "get", "lease", LEASE, "-n", SYSTEM_NAMESPACE, "--ignore-not-found", "-o", "json"
        )
        found: Mapping[str, Any] | None = json.loads(output) if output.strip() else None
        return found

    def _create(self, now: datetime) -> None:
        manifest = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": SYSTEM_NAMESPACE},
            "spec": {
                "holderIdentity": self._holder,
                "acquireTime": _stamp(now),
                "renewTime": _stamp(now),
                "leaseDurationSeconds": LEASE_SECONDS,
            },
        }
        self._cluster.apply("create", manifest)

    def release(self) -> None:
        """Give it back, if it is ours."""
        found = self._read()
        if found is not None and found["spec"].get("holderIdentity") == self._holder:
            self._cluster.kubectl("delete", "lease", LEASE, "-n", SYSTEM_NAMESPACE, "--ignore-not-found")


def held_by_other(lease: Mapping[str, Any], holder: str, now: datetime) -> str | None:
    """Who else holds a lease that has not run out, or None. Pure."""
    spec = lease["spec"]
    other = spec.get("holderIdentity")
    if not other or other == holder:
        return None
    until = datetime.fromisoformat(spec["renewTime"]) + timedelta(seconds=spec["leaseDurationSeconds"])
    return str(other) if now < until else None


def _stamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
