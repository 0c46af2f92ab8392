"""Around each activity: a mark on the timeline, and a line of progress when it failed."""

from __future__ import annotations

import re
from typing import Any

from okitoki_chaos.session import current


def before_activity_control(context: dict[str, Any], **_: Any) -> None:
    """Note what begins."""
    current().timeline.note("activity", name=context["name"])


def after_activity_control(context: dict[str, Any], state: dict[str, Any] | None, **_: Any) -> None:
    """A failed activity is told at once. After a failed injection there is nothing to prove or to hold."""
    session = current()
    if state is None or state.get("status") == "succeeded":
        return
    if session.outcome.error is None:  # what follows from it is not told
        words = plain(str((state.get("exception") or ["failed"])[-1]))
        session.outcome.error = f"{context['name']}: {words}"
        session.say(f"    {session.outcome.error}")


def plain(words: str) -> str:
    """An exception's message without the names of its classes."""
    return re.sub(r"^(?:[a-z_.]+\.[A-Z]\w+: )+", "", words.strip())


def after_experiment_control(context: dict[str, Any], **_: Any) -> None:
    """Whatever the rollbacks did: nothing stays open."""
    current().heal()
