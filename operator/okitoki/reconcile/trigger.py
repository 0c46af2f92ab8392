"""Which watch events deserve a reconcile. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from okitoki.kube import labels

PATRONI_STATUS = "status"
"""Annotation that Patroni rewrites on its pod each loop; of interest are role, state and timeline, not positions."""
_PATRONI_FIELDS = ("role", "state", "replication_state", "timeline", "pending_restart", "version")
_NOISE = {"resourceVersion", "managedFields", "generation"}


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """What matters of an object, hashed: two states with the same fingerprint need no reconcile between them."""
    match manifest.get("kind"):
        case "Pod":
            relevant = _pod(manifest)
        case "Node":
            relevant = _node(manifest)
        case "Tenant" | "VoiceRegion":
            # The status is our own; only the spec and the metadata ask for work, and trunks, which concern tenants.
            relevant = _other({key: value for key, value in manifest.items() if key != "status"})
            relevant["trunks"] = (manifest.get("status") or {}).get("trunks")
        case _:
            relevant = _other(manifest)
    # One is kept for each pod and tenant: short, and long enough that no change goes unnoticed.
    return hashlib.blake2b(json.dumps(relevant, sort_keys=True).encode(), digest_size=8).hexdigest()


def _other(manifest: Mapping[str, Any]) -> Any:
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in _NOISE}
    return {**manifest, "metadata": metadata}


def _node(manifest: Mapping[str, Any]) -> Any:
    # The kubelet reports its status all the time; of interest is who may carry the edge and from where it speaks.
    status, spec = manifest.get("status") or {}, manifest.get("spec") or {}
    return {
        "labels": manifest["metadata"].get("labels"),
        "addresses": status.get("addresses"),
        "podCIDRs": spec.get("podCIDRs"),
        "unschedulable": spec.get("unschedulable"),
        "ready": [c["status"] for c in status.get("conditions") or [] if c["type"] == "Ready"],
    }


def _pod(manifest: Mapping[str, Any]) -> Any:
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    annotations = metadata.get("annotations") or {}
    try:
        patroni = json.loads(annotations.get(PATRONI_STATUS, "{}"))
    except ValueError:
        patroni = {}
    return {
        "uid": metadata.get("uid"),
        "labels": metadata.get("labels"),
        "deleting": metadata.get("deletionTimestamp"),
        "edge": annotations.get(labels.EDGE_STATUS),
        "patroni": {field: patroni.get(field) for field in _PATRONI_FIELDS} if isinstance(patroni, dict) else {},
        "node": (manifest.get("spec") or {}).get("nodeName"),
        "phase": status.get("phase"),
        "addresses": [status.get("hostIP"), status.get("podIP")],
        "conditions": sorted((c["type"], c["status"], c.get("reason", "")) for c in status.get("conditions") or []),
        "containers": sorted(
            (c["name"], c.get("restartCount", 0), c.get("ready", False), sorted(c.get("state") or {}))
            for c in [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
        ),
    }
