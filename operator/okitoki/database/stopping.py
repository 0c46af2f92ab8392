"""All members stop: they are told first, so that none of them hands the primary's role to another that stops too.

The word is an annotation of Patroni's ConfigMap `postgres-config`, which every agent follows; Patroni leaves it alone.
"""

from __future__ import annotations

from typing import Any

from okitoki.database.spec import SCOPE
from okitoki.kube.resources import PLATFORM_GROUP, Manifest, annotation

CONFIG_MAP = f"{SCOPE}-config"
STOPPING = f"{PLATFORM_GROUP}/stopping"


def stop_announced(config_map: Manifest | None) -> bool:
    """Whether the members have been told."""
    return bool(annotation(config_map, STOPPING))


def announcement(stops: bool) -> dict[str, Any]:
    """A merge patch of the ConfigMap that tells them, or takes it back."""
    return {"metadata": {"annotations": {STOPPING: "true" if stops else None}}}
