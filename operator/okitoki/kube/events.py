"""Kubernetes Events: what a person should know, told once."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import aiohttp

from okitoki.kube import labels
from okitoki.kube.client import ApiError, Client
from okitoki.kube.times import rfc3339

log = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

EVENTS_NAMESPACE = "default"
"""Events of cluster-scoped objects live here (as those of Nodes do); `kubectl describe` finds them."""
MAX_MESSAGE = 1024


class Recorder:
    """Writes Events; a failure to write one is logged and never stops a reconcile."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def record(self, resource: Mapping[str, Any], kind: EventType, reason: str, message: str) -> None:
        """One event about a Tenant, a VoiceRegion or the authorities' Secret (its raw object); `reason` is CamelCase,
        `message` says the mend."""
        event = event_manifest(resource, kind, reason, message, datetime.now(UTC), secrets.token_hex(4))
        try:
            await self._client.create(event)
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("event %s could not be written: %s", reason, error)


def event_manifest(
    resource: Mapping[str, Any],
    kind: EventType,
    reason: str,
    message: str,
    now: datetime,
    suffix: str,
) -> dict[str, Any]:
    """The Event object; `suffix` makes its name unique."""
    metadata = resource["metadata"]
    namespace = metadata.get("namespace")
    time = rfc3339(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name']}.{suffix}",
            "namespace": namespace or EVENTS_NAMESPACE,
        },
        "involvedObject": {
            "apiVersion": resource["apiVersion"],
            "kind": resource["kind"],
            "name": metadata["name"],
            **({"namespace": namespace} if namespace else {}),
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "type": kind,
        "reason": reason,
        "message": message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
        "source": {"component": labels.FIELD_MANAGER, "host": os.environ.get("POD_NAME", "")},
        "reportingComponent": labels.FIELD_MANAGER,
        "reportingInstance": os.environ.get("POD_NAME", ""),
    }
