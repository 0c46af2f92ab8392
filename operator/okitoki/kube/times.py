"""Times as objects carry them (RFC 3339): written, and read from what a person asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def rfc3339(moment: datetime) -> str:
    """A moment (UTC) in whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_of_epoch(seconds: int) -> str:
    """The same of seconds since the epoch."""
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


def age_of_request(requested: str, now: datetime) -> timedelta:
    """How long ago the time was that a request names; negative when it is still to come.

    Raises:
        ValueError: when it names none, with the mend.
    """
    try:
        return now - datetime.fromisoformat(requested)
    except (ValueError, TypeError):
        text = f"the request {requested[:40]!r} is no time with a zone such as 2026-11-25T12:00:00Z: ask again"
        raise ValueError(text) from None
