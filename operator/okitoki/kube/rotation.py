"""How one authority follows another without a moment in which a good certificate is refused. Pure.

docs/decisions/0021-authorities-overlap.md. Two rules, whatever dies when:

1. Nothing is issued by an authority before everything that checks certificates trusts it (`promote`).
2. An authority is trusted until nothing that it issued is shown any more (`retire`).

Each step is one write of one Secret, decided anew from what is there; a step that was done is not seen as due again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from okitoki.kube.authority import AuthoritySet
from okitoki.kube.pki import Authority, asks_for_newer, request_problem

SHOWN = 5
"""So many of those that are waited for are named."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a Tenant or VoiceRegion says of its certificates in its status."""

    name: str
    """As people call it, such as `Tenant acme`."""
    authority: str | None
    """The authority whose certificate all its servers show; None while they differ or are not known."""
    trusted: frozenset[str]
    """Authorities that all of it trusts."""


@dataclass(frozen=True, slots=True)
class Step:
    """The next step. `rest`: nothing to do. `wait`: a rotation is under way and cannot go on yet. `refuse`: it cannot
    begin or go on until somebody mends what `reason` says."""

    action: Literal["rest", "begin", "promote", "retire", "wait", "refuse"]
    reason: str


def next_step(found: AuthoritySet, reports: Sequence[Report], now: datetime) -> Step:
    """What is to be done with these authorities, and why."""
    if found.previous:
        return _replacing(found, reports)
    if found.problem:
        return Step("refuse", f"the successor in the Secret cannot be used: {found.problem}; mend or remove next.*")
    if found.next:
        return _distributing(found.next, reports, now)
    if (why := _due(found, now)) is None:
        problem = request_problem(found.requested, now)
        return Step("refuse", problem) if problem else Step("rest", "")
    if not found.own:
        return Step("refuse", f"{why}, but it is not the operator's own: put its successor into next.crt and next.key")
    return Step("begin", why)


def is_under_way(found: AuthoritySet) -> bool:
    """Whether one authority is being replaced by another."""
    return found.next is not None or bool(found.previous)


def _due(found: AuthoritySet, now: datetime) -> str | None:
    current = found.current
    if asks_for_newer(found.requested, current.issued, now):
        return f"a successor of authority {current.id} is asked for"
    if now >= current.due:
        return f"two thirds of the life of authority {current.id} are over, it ends on {current.expires:%Y-%m-%d}"
    return None


def _distributing(following: Authority, reports: Sequence[Report], now: datetime) -> Step:
    waiting = [report.name for report in reports if following.id not in report.trusted]
    if waiting:
        return Step("wait", f"authority {following.id} is not trusted yet by {_some(waiting)}")
    if following.expires <= now:
        return Step("refuse", f"authority {following.id} ended on {following.expires:%Y-%m-%d}: put another one there")
    return Step("promote", f"everything trusts authority {following.id}")


def _replacing(found: AuthoritySet, reports: Sequence[Report]) -> Step:
    waiting = [report.name for report in reports if report.authority != found.current.id]
    if waiting:
        return Step("wait", f"certificates of authority {found.current.id} are not shown yet by {_some(waiting)}")
    return Step("retire", f"every certificate in use is of authority {found.current.id}")


def _some(waiting: Sequence[str]) -> str:
    listed = ", ".join(sorted(waiting)[:SHOWN])
    return listed if len(waiting) <= SHOWN else f"{listed} and {len(waiting) - SHOWN} more"
