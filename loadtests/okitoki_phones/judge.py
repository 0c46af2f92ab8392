"""Whether calls were good: both sides' records put together and judged. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# An established call whose audio was away for longer than this is a dropped call, whatever its signalling says.
SILENCE_LIMIT_MS = 5000.0

COMPLETED, FAILED, DROPPED = "completed", "failed", "dropped"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Direction:
    """The audio that one side sent and the other received."""

    sent: int
    received: int
    lost: int
    lost_at_end: int
    duplicated: int
    corrupted: int
    foreign: int
    longest_gap_ms: float | None
    longest_gap_at: float | None
    longest_stall_of_sender_ms: float | None
    gaps: list[dict[str, float]] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Every packet that came was one that the right side had sent, unchanged."""
        return self.corrupted == 0 and self.foreign == 0

    @property
    def silent(self) -> bool:
        return self.received == 0 or (self.longest_gap_ms or 0.0) > SILENCE_LIMIT_MS


@dataclass(frozen=True)
class CallVerdict:
    """One call."""

    call_id: str
    tenant: str | None
    kind: str | None
    number: str
    outcome: str
    reason: str | None
    problems: list[str]
    established_at: float | None
    ended_at: float | None
    media_addresses: list[str]
    attempted_at: float = 0.0
    set_up_seconds: float | None = None
    """From the caller's INVITE to its 200, without the time for which the phone rang."""
    forwarded: str | None = None
    """Where and why the carrier forwarded the call past the platform (layer 2)."""
    to_agent: Direction | None = None
    to_caller: Direction | None = None

    @property
    def established(self) -> bool:
        return self.established_at is not None

    @property
    def two_way(self) -> bool:
        return all(way is not None and not way.silent and way.intact for way in (self.to_agent, self.to_caller))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def direction(sender: Record, receiver: Record) -> Direction:
    """The audio from one side's record to the other's."""
    out, into = sender["audio"]["out"], receiver["audio"]["in"]
    return Direction(
        sent=out["sent"],
        received=into["received"],
        lost=into["lost"],
        lost_at_end=max(0, out["sent"] - 1 - into["highest"]),
        duplicated=into["duplicated"],
        corrupted=into["corrupted"],
        foreign=into["foreign"],
        longest_gap_ms=into["longestMs"],
        longest_gap_at=into["longestAt"],
        longest_stall_of_sender_ms=out["longestMs"],
        gaps=into["gaps"],
    )


def judge(calls: Iterable[Record]) -> list[CallVerdict]:
    """Verdicts on all calls of a carrier, from the records of the carrier and of the agents, in order of attempt."""
    callers: dict[str, Record] = {}
    # Of a forked or hunted call only the phone that the caller talked to counts.
    callees: dict[tuple[str, str | None], Record] = {}
    for record in calls:
        if record["role"] == "carrier":
            callers[record["callId"]] = record
        else:
            callees[record["callId"], record["calleeTag"]] = record
    ordered = sorted(callers.values(), key=lambda record: record["attemptedAt"])
    return [judge_call(record, callees.get((record["callId"], record["calleeTag"]))) for record in ordered]


def judge_call(caller: Record, callee: Record | None) -> CallVerdict:
    """The verdict on one call."""
    established = caller["establishedAt"] is not None
    problems: list[str] = list(caller["notes"])
    ways: dict[str, Direction] = {}
    if established and (callee is None or callee["audio"] is None):
        problems.append("no agent's phone has a record of this call")
    elif established and callee is not None:
        ways = {"to_agent": direction(caller, callee), "to_caller": direction(callee, caller)}
        problems += callee["notes"]
    fatal = drop_reasons(caller, callee, ways) if established else []
    for name, way in ways.items():
        if not way.intact:
            problems.append(f"{name}: {way.corrupted} packets altered, {way.foreign} of another stream")
    outcome = FAILED if not established else DROPPED if fatal else COMPLETED
    sides = [record for record in (caller, callee) if record is not None]
    return CallVerdict(
        call_id=caller["callId"],
        tenant=caller["tenant"],
        kind=caller["kind"],
        number=caller["number"],
        outcome=outcome,
        reason=fatal[0] if fatal else None if established else f"{caller['code']} {caller['reason']}",
        problems=[*fatal, *problems],
        established_at=caller["establishedAt"],
        ended_at=caller["endedAt"],
        media_addresses=sorted({side["mediaAddress"] for side in sides if side["mediaAddress"]}),
        attempted_at=caller["attemptedAt"],
        set_up_seconds=set_up_seconds(caller, callee),
        forwarded=caller.get("forwarded"),
        **ways,
    )


def set_up_seconds(caller: Record, callee: Record | None) -> float | None:
    """What the platform took of the time to an answer: the phone's ringing is not its doing. None if unanswered."""
    if caller["establishedAt"] is None:
        return None
    rang = 0.0
    if callee is not None and callee.get("ringingAt") and callee.get("answeredAt"):
        rang = callee["answeredAt"] - callee["ringingAt"]
    return round(float(caller["establishedAt"] - caller["attemptedAt"] - rang), 3)


def drop_reasons(caller: Record, callee: Record | None, ways: Mapping[str, Direction]) -> list[str]:
    """Why an established call counts as dropped; empty when it does not."""
    reasons = []
    if callee is None or callee["establishedAt"] is None:
        reasons.append("the agent's phone never saw the call established")
    for name, way in ways.items():
        if way.received == 0:
            reasons.append(f"{name}: no audio at all")
        elif way.silent:
            reasons.append(f"{name}: silent for {way.longest_gap_ms:.0f} ms")
    enders = [side for side in (caller, callee) if side is not None and side["endedBy"] == "local"]
    if not enders:
        reasons.append("ended by neither side")
    if enders and not any(side["byeCode"] == 200 for side in enders):
        codes = ", ".join(str(side["byeCode"] or "no answer") for side in enders)
        reasons.append(f"BYE not answered with 200: {codes}")
    return reasons
