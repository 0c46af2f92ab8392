"""Which member's data were copied anew last, because it got nowhere (docs/decisions/0022): the agents' word. Pure.

It is an annotation of Patroni's ConfigMap `postgres-config`, as the word that all members stop (`stopping`) is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from okitoki.kube.resources import PLATFORM_GROUP, Manifest, annotation
from okitoki.kube.times import rfc3339

REINITIALISED = f"{PLATFORM_GROUP}/reinitialised"


@dataclass(frozen=True, slots=True)
class Reinitialised:
    """`member` was begun to be made anew at `at` (RFC 3339, UTC); `reason` is its agent's."""

    member: str
    at: str
    reason: str


def reinitialised(config_map: Manifest | None) -> Reinitialised | None:
    """The annotation's content; None without one, or when it is not what an agent writes."""
    try:
        found = json.loads(annotation(config_map, REINITIALISED))
        at = rfc3339(datetime.fromisoformat(found["at"]).astimezone(UTC))
        return Reinitialised(str(found["member"])[:63], at, str(found["reason"])[:1024])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
