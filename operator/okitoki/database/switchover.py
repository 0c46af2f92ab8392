"""Whether a planned change of the primary that somebody asked for is made, and why or why not. Pure.

docs/decisions/0010-requests-are-annotations.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from okitoki.database.rebuild import Losses
from okitoki.database.state import DatabaseState, Member

FRESH = timedelta(seconds=120)
"""An older request is refused: a manifest with the annotation that is applied again must not change the primary."""


@dataclass(frozen=True, slots=True)
class Switchover:
    """`primary` is to give its role away; None when the request is refused. `reason` says why or why not."""

    primary: Member | None
    reason: str


def decide_switchover(
    requested: str, state: DatabaseState, losses: Losses, instances: int, now: datetime
) -> Switchover:
    """`requested`: the annotation's value. Only a cluster that is whole changes its primary without need."""
    if obstacle := _obstacle(requested, state, losses, instances, now):
        return Switchover(None, obstacle)
    return Switchover(state.primary, f"{state.primary.name if state.primary else ''} gives its role away, as requested")


def _obstacle(requested: str, state: DatabaseState, losses: Losses, instances: int, now: datetime) -> str | None:
    try:
        age = now - datetime.fromisoformat(requested)
    except (ValueError, TypeError):
        return f"the request {requested[:40]!r} is no time with a zone such as 2026-11-25T12:00:00Z: ask again"
    if abs(age) > FRESH:
        return f"the request is of {requested[:40]}, more than {FRESH.total_seconds():.0f} s from now: ask again"
    if state.primary is None:
        return "no member takes writes now, a failover may be under way: wait for it"
    if losses.members or state.in_order < instances or len(state.members) != instances:
        return f"{state.in_order} of {instances} members are in order: see the condition DatabaseReady, mend that first"
    if not state.voters:
        return f"{state.primary.name} has no synchronous standby that could take over: wait for one"
    return None
