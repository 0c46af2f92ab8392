"""The pod's annotation and label by which the operator knows this node. Written only when they say something else."""

import json
import logging
import time
from typing import Any

from okitoki_agents.edge.agent.status import ANNOTATION, HOLDS_SIP_LABEL
from okitoki_agents.kube import ApiClient, ApiError, Object

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Least time between two writes, longer after each failure up to PAUSE_LAST_SECONDS."""
PAUSE_LAST_SECONDS = 30.0
TRUST_SECONDS = 30.0
"""How long an own write counts although the watch has not shown it."""


def metadata_patch(document: dict[str, Any], pod: Object | None) -> Object | None:
    """Merge patch that brings the pod's metadata to `document`; None when it says so already. `pod`: as last seen."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    holds_sip = "true" if "sip" in document["holds"] else "false"
    metadata = (pod or {}).get("metadata", {})
    if (
        metadata.get("annotations", {}).get(ANNOTATION) == text
        and metadata.get("labels", {}).get(HOLDS_SIP_LABEL) == holds_sip
    ):
        return None
    return {"metadata": {"annotations": {ANNOTATION: text}, "labels": {HOLDS_SIP_LABEL: holds_sip}}}


class Reporter:
    """Writes the status of this pod."""

    def __init__(self, client: ApiClient, namespace: str, name: str) -> None:
        self._client, self._path = client, f"/api/v1/namespaces/{namespace}/pods/{name}"
        self._not_before = 0.0
        self._pause = PAUSE_SECONDS
        self._written: tuple[float, Object] | None = None

    async def report(self, document: dict[str, Any], pod: Object | None) -> None:
        """Write `document` if the pod says something else. Raises ClientError, TimeoutError, OSError."""
        patch = metadata_patch(document, pod)
        if patch is None or time.monotonic() < self._not_before:
            return
        if (
            self._written is not None
            and self._written[1] == patch
            and time.monotonic() < self._written[0] + TRUST_SECONDS
        ):
            return
        self._pause = min(self._pause * 2, PAUSE_LAST_SECONDS)
        self._not_before = time.monotonic() + self._pause
        try:
            await self._client.merge_patch(self._path, patch)
        except ApiError as error:
            log.warning("status of the pod: %s", error)
            return
        self._written = (time.monotonic(), patch)
        self._pause = PAUSE_SECONDS
        self._not_before = time.monotonic() + self._pause
