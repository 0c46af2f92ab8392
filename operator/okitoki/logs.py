"""Logs, as lines for people or as JSON; each carries the tenant or region that the work is about."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

_subject: ContextVar[tuple[str, str, str] | None] = ContextVar("subject", default=None)
_FIELDS = {"Tenant": "tenant", "VoiceRegion": "region"}


@contextmanager
def log_context(kind: str, name: str, uid: str = "") -> Iterator[None]:
    """What is logged inside is about this Tenant or VoiceRegion; `uid` tells it from another one of its name."""
    token = _subject.set((kind, name, uid))
    try:
        yield
    finally:
        _subject.reset(token)


def set_up_logging(style: Literal["plain", "json"], level: str) -> None:
    """Send all logs to stderr in one style; Kopf's own chatter only from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if style == "json" else _Plain())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        subject = _subject.get()
        about = f" {_FIELDS.get(subject[0], subject[0])}={subject[1]}" if subject else ""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        text = f"{time} {record.levelname.lower()}{about} {record.getMessage()}"
        return text + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        subject = _subject.get()
        if subject:
            line[_FIELDS.get(subject[0], subject[0])] = subject[1]
            if subject[2]:
                line["uid"] = subject[2]
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
