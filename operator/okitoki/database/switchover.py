"""Whether a planned change of the primary that somebody asked for is made, and why or why not. Pure.

docs/decisions/0010-requests-are-annotations.md, 0016-what-a-person-asks-for.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from okitoki.database.rebuild import Losses
from okitoki.database.state import DatabaseState, Member
from okitoki.kube.times import age_of_request

FRESH = timedelta(seconds=120)
"""An older request is refused: a manifest with the annotation that is applied again must not change the primary."""


@dataclass(frozen=True, slots=True)
class Switchover:
    """`primary` is to give its role away, to `to` if somebody was named; None when the request is refused. `reason`
    says why or why not."""

    primary: Member | None
    reason: str
    to: str | None = None


def decide_switchover(
    requested: str, state: DatabaseState, losses: Losses, instances: int, now: datetime
) -> Switchover:
    """`requested`: the annotation's value, `TIME` or `TIME MEMBER`. Only a cluster that is whole changes its primary
    without need."""
    time, to = parts_of(requested)
    if obstacle := _stale(time, now):
        return Switchover(None, obstacle)
    if (primary := state.primary) is None:
        return Switchover(None, "no member takes writes now, a failover may be under way: wait for it")
    if obstacle := (_unfit(to, primary, state) if to else None) or _not_whole(primary, state, losses, instances):
        return Switchover(None, obstacle)
    return Switchover(primary, f"{primary.name} gives its role {f'to {to}' if to else 'away'}, as requested", to)


def parts_of(requested: str) -> tuple[str, str | None]:
    """The time of a request, and the member that it names, if any."""
    time, _, member = requested.partition(" ")
    return time, member.strip() or None


def _stale(time: str, now: datetime) -> str | None:
    try:
        age = age_of_request(time, now)
    except ValueError as error:
        return str(error)
    if abs(age) > FRESH:
        return f"the request is of {time[:40]}, more than {FRESH.total_seconds():.0f} s from now: ask again"
    return None


def _unfit(name: str, primary: Member, state: DatabaseState) -> str | None:
    """Why this member cannot have the role."""
    others = ", ".join(item.name for item in state.members if item != primary and item.name in state.voters)
    instead = f"name {others}" if others else "wait until one is"
    found = next((item for item in state.members if item.name == name), None)
    if found is None:
        return f"there is no member {name[:40]!r}: {instead}"
    if found == primary:
        return f"{name} is the primary already: nothing to do"
    if not found.in_order:
        why = found.problem or (f"its state is {found.state or 'not known'}" if found.ready else "it is not ready")
        return f"{name} is not in order ({why}): mend it (condition DatabaseReady), or {instead}"
    if name not in state.voters:
        return f"{name} is no synchronous standby, it may lack the latest writes: {instead}"
    return None


def _not_whole(primary: Member, state: DatabaseState, losses: Losses, instances: int) -> str | None:
    if losses.members or state.in_order < instances or len(state.members) != instances:
        return f"{state.in_order} of {instances} members are in order: see the condition DatabaseReady, mend that first"
    if not state.voters:
        return f"{primary.name} has no synchronous standby that could take over: wait for one"
    return None
