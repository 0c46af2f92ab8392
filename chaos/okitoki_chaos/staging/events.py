"""The verdict as a Kubernetes Event on each Tenant and VoiceRegion that took part."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# Events about cluster-scoped resources live here, as those about Nodes do.
NAMESPACE = "default"
COMPONENT = "okitoki-drill"
MAX_MESSAGE = 1024
PASSED, FAILED, REFUSED = "DrillPassed", "DrillFailed", "DrillRefused"


def message(found: Mapping[str, Any]) -> str:
    """A report in one sentence or two. Pure."""
    words = f"drill {found['run']}, plan {found['plan']}: {found['claim']}"
    if found["notPossible"]:
        words += f"; {len(found['notPossible'])} kinds of fault were not possible"
    if found["failures"]:
        words += f"; {len(found['failures'])} failures, first: {found['failures'][0]}"
    return words


def event(obj: Mapping[str, Any], reason: str, words: str) -> dict[str, Any]:
    """The Event about a Tenant or VoiceRegion (its JSON)."""
    metadata, now = obj["metadata"], datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": NAMESPACE},
        "involvedObject": {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "type": "Normal" if reason == PASSED else "Warning",
        "reason": reason,
        "message": words if len(words) <= MAX_MESSAGE else words[: MAX_MESSAGE - 1] + "…",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
    }
