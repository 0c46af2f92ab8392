"""Call records as data: what Kamailio writes at a call's start and end, and what the tenant's app wants. Pure.

`call:CALLID;FROMTAG;TOTAG` is a hash of `tenant, number, caller, agent or landline, queue, started, answered, media`
and, once the call is over, `ended, endReason`; times in epoch milliseconds (docs/interfaces.md, "Calls in Redis").
"""

import enum
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

PREFIX = "call:"
DEAD_PREFIX = "dead:"
"""What can never be delivered is moved under this prefix and kept for a person to look at."""
MEDIA_TIMEOUT = "media-timeout"


class RecordError(ValueError):
    """The hash is not a call record; the message names the field."""


class Verdict(enum.Enum):
    """What an answer of the app means for the record."""

    DELIVERED = "delivered"
    DEAD = "dead"
    RETRY = "retry"


def path_of(key: str) -> str:
    """Path of the app's call for the record behind the Redis key `call:…`."""
    return "/edge/v1/call-records/" + quote(key.removeprefix(PREFIX), safe="")


def call_id_of(key: str) -> str:
    """Call-ID of the Redis key; tags hold no `;` (RFC 3261, `token`), a Call-ID may not either (`word`)."""
    return key.removeprefix(PREFIX).split(";", 1)[0]


def document_of(key: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """The body for the app. Raises RecordError."""

    def needed(name: str) -> str:
        value = fields.get(name)
        if not value:
            raise RecordError(f"{name}: missing")
        return value

    def time(name: str) -> str:
        try:
            return datetime.fromtimestamp(int(needed(name)) / 1000, UTC).isoformat(timespec="milliseconds")
        except (ValueError, OverflowError, OSError) as error:
            if isinstance(error, RecordError):
                raise
            raise RecordError(f"{name}: {fields[name]!r} is not a time in epoch milliseconds") from error

    return {
        "direction": fields.get("direction") or "in",
        "number": needed("number"),
        "caller": needed("caller"),
        "agent": fields.get("agent") or None,
        "landline": fields.get("landline") or None,
        "queue": fields.get("queue") or None,
        "startedAt": time("started"),
        "answeredAt": time("answered") if fields.get("answered") else None,
        "endedAt": time("ended"),
        "endReason": needed("endReason"),
        "callId": call_id_of(key),
        "note": None,
    }


def verdict(status: int) -> Verdict:
    """What the app's HTTP `status` says about a record.

    409: the record is there already with another end, which is the peer's view of the same call: the first one
    counts. 401, 403 and 404 mend themselves (a token that is being rotated, an app of an older version); 408 and 429
    mean later.
    """
    if status < 300 or status == 409:
        return Verdict.DELIVERED
    if 400 <= status < 500 and status not in (401, 403, 404, 408, 425, 429):
        return Verdict.DEAD
    return Verdict.RETRY
