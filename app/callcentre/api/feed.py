"""The routing feed's content and its ETag: pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Feed:
    """One state of the feed: the configuration's version, the body and the strong ETag made of it."""

    version: UUID
    body: bytes
    etag: str


def build_feed(tenant: str, row: Mapping[str, object]) -> Feed:
    """Pure: the same content has the same ETag on every pod, after any restart and on any timeline."""
    content = {
        "tenant": tenant,
        "realm": tenant,
        "numbers": row["numbers"],
        "queues": row["queues"],
        "agents": row["agents"],
    }
    body = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return Feed(UUID(str(row["version"])), body, f'"{hashlib.sha256(body).hexdigest()}"')


def none_match(header: str | None, etag: str) -> bool:
    """Whether If-None-Match (RFC 9110 13.1.2, weak comparison) names this ETag."""
    given = [part.strip().removeprefix("W/") for part in (header or "").split(",")]
    return "*" in given or etag in given
