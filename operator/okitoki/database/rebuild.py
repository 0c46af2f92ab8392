"""Whether a member whose node never comes back is made anew elsewhere. Pure.

Volumes on a node's own disk pin their member to it, so Kubernetes alone waits for ever. To make the member anew is to
throw its data away; that is done only when the others have them, and when the old one is certainly gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from okitoki.database.state import DatabaseState


@dataclass(frozen=True, slots=True)
class LostMember:
    """A member that is not in order and whose volume is on a node that is gone or not ready since `since`."""

    name: str
    node: str
    since: datetime
    claim_uid: str
    pod_uid: str | None


@dataclass(frozen=True, slots=True)
class Losses:
    """What is known of lost members. `streaming` holds the names of standbys that are connected to the primary, None
    when it could not be asked; `spare_nodes` are ready nodes that have no member."""

    members: tuple[LostMember, ...] = ()
    streaming: frozenset[str] | None = None
    spare_nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Which member is made anew, if any, and why or why not; `reason` is empty when no member is lost."""

    member: LostMember | None
    reason: str


def decide_rebuild(state: DatabaseState, losses: Losses, instances: int, after_seconds: int, now: datetime) -> Rebuild:
    """One member at a time, the one that has been lost for longest."""
    if not losses.members:
        return Rebuild(None, "")
    lost = min(losses.members, key=lambda member: (member.since, member.name))
    gone = int((now - lost.since).total_seconds())
    fact = f"{lost.name} is on node {lost.node}, which has been lost for {_words(gone)}"
    if obstacle := _obstacle(state, losses, lost, instances, after_seconds - gone):
        return Rebuild(None, f"{fact}; it is not made anew elsewhere: {obstacle}")
    return Rebuild(lost, f"{fact}: it is made anew elsewhere")


def _obstacle(state: DatabaseState, losses: Losses, lost: LostMember, instances: int, remaining: int) -> str | None:
    if remaining > 0:
        return f"the node has {_words(remaining)} more to come back (spec.database.rebuildAfterSeconds)"
    primary = state.primary
    if primary is None or primary.name == lost.name:
        return "there is no other member that takes writes"
    others = [member for member in state.members if member.in_order and member.name != lost.name]
    if len(others) < instances // 2 + 1:
        return f"only {len(others)} other members are in order, and the lost one's data may be needed"
    if losses.streaming is None:
        return f"{primary.name} does not tell who is connected to it"
    if lost.name in losses.streaming:
        return f"it is still connected to {primary.name}, so it lives"
    if not losses.spare_nodes:
        return "no other node is ready and free of members: add one"
    return None


def _words(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def as_action(member: LostMember) -> Mapping[str, str | None]:
    """What the action needs."""
    return {"member": member.name, "claim_uid": member.claim_uid, "pod_uid": member.pod_uid}
