"""What an operator asked of the API server, by the server's own audit log. Pure but for reading the file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

OPERATOR = "operator"
"""The user that the measured operator is to the API server."""
WRITES = ("create", "update", "patch", "delete", "deletecollection")
Calls = Counter[tuple[str, str]]
"""Calls by verb and resource (`pods`, `tenants/status`)."""

POLICY: Mapping[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "users": [OPERATOR], "omitManagedFields": True}, {"level": "None"}],
}
"""Only the operator's calls are logged: the log costs the API server something, and both operators the same."""


def calls(lines: Iterable[str]) -> Calls:
    """Count the finished calls; watches, which end when they please, and leases, which tick, are none of the work."""
    counted: Calls = Counter()
    for line in lines:
        event = json.loads(line)
        resource = event.get("objectRef") or {}
        name = resource.get("resource", "")
        if event["verb"] == "watch" or not name or name == "leases":
            continue
        subresource = resource.get("subresource")
        counted[event["verb"], f"{name}/{subresource}" if subresource else name] += 1
    return counted


def writes(counted: Calls) -> int:
    """How many of the calls change something."""
    return sum(count for (verb, _), count in counted.items() if verb in WRITES)


def by_verb(counted: Calls) -> dict[str, int]:
    """Calls by verb."""
    found: Counter[str] = Counter()
    for (verb, _), count in counted.items():
        found[verb] += count
    return dict(sorted(found.items()))


class AuditLog:
    """Follows the log from one look to the next."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def since_last(self) -> Calls:
        """Calls since the last look. A line that is still being written waits for the next."""
        if not self._path.exists():
            return Counter()
        with self._path.open("rb") as file:
            file.seek(self._offset)
            return calls(line.decode() for line in self._whole(file))

    def _whole(self, file: Iterable[bytes]) -> Iterable[bytes]:
        for line in file:
            if not line.endswith(b"\n"):
                return
            self._offset += len(line)
            yield line
