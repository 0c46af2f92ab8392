"""A session's verdict, fault by fault: what the clients' own records say, against each experiment's goals. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from okitoki_chaos import verdict
from okitoki_chaos.runner import DONE, NOT_POSSIBLE
from okitoki_chaos.series import Scene, scene
from okitoki_load import recorder
from okitoki_load.ledger import OK
from okitoki_phones.judge import DROPPED, FAILED, CallVerdict

# A client gives up on a write after this long (docs/interfaces.md): one that began so long before may fail of a fault.
DEADLINE_SECONDS = 12.0

Result = Mapping[str, Any]


@dataclass(frozen=True)
class SessionFacts:
    """All that a session left behind. `stalls` are the clients' and the drill's own: {at, seconds, who}."""

    facts: verdict.Facts
    results: Sequence[Result]
    events: Sequence[Mapping[str, Any]]
    stalls: Sequence[Mapping[str, Any]] = ()


def fault_of(result: Result) -> verdict.FaultOutcome:
    """A result in the words of the shared verdict."""
    return verdict.FaultOutcome(
        name=result["name"],
        pod=str(result["target"]),
        at=result["at"],
        replaced_at=result["healedAt"],
        recovered_at=result["wholeAt"],
        error=result["error"],
    )


def window(result: Result) -> tuple[float, float]:
    """From the injection to when all was well again; to the experiment's end when it never was."""
    return result["at"], result["wholeAt"] or result["ended"]


def judge(session: SessionFacts) -> dict[str, Any]:
    """The session's report: `items` with their figures and failures, and what concerns no single fault."""
    whole = verdict.report(session.facts)
    items = [judge_item(session, result) for result in session.results]
    failures = session_failures(session, whole, items)
    for item in items:
        excuse(item, failures)
    return {
        "run": session.facts.run,
        "begun": session.facts.begun,
        "ended": session.facts.ended,
        "writes": whole["writes"],
        "calls": whole["calls"],
        "callRecords": whole["callRecords"],
        "stalls": list(session.stalls),
        "items": items,
        "failures": failures,
    }


def judge_item(session: SessionFacts, result: Result) -> dict[str, Any]:
    """One experiment's figures, and how they stand to its goals."""
    base = {
        key: result[key]
        for key in ("name", "experiment", "title", "row", "goals", "mustFail", "tenant", "repetition", "outcome",
                    "error", "fault", "target", "facts", "proofs", "at", "bitAt", "healedAt", "wholeAt", "healedBy")
    }  # fmt: skip
    if result["at"] is None:
        failures = [] if result["outcome"] == NOT_POSSIBLE else [failure(result["outcome"], str(result["error"]))]
        return {**base, "figures": {}, "failures": failures, "scene": None}
    found = figures(session, result)
    failures = outcome_failures(result) + goal_failures(result["goals"], found)
    drawn: Scene = scene(session.facts, session.events, window(result))
    return {**base, "figures": found, "failures": failures, "scene": drawn.as_json()}


def failure(kind: str, words: str, of: str | None = None) -> dict[str, str]:
    """`kind` is what a control names in `mustFail`; `of` is the figure whose goal was missed."""
    return {"kind": kind, "words": words} | ({"of": of} if of else {})


def outcome_failures(result: Result) -> list[dict[str, str]]:
    if result["outcome"] == DONE:
        return []
    kind = "no-bite" if result["bitAt"] is None else result["outcome"].replace(" ", "-")
    return [failure(kind, str(result["error"]))]


def figures(session: SessionFacts, result: Result) -> dict[str, Any]:
    """What a fault did to clients. Seconds and milliseconds; gaps may begin before and end after the window."""
    facts, span = session.facts, window(result)
    gaps, failed = {}, {}
    for name, tenant in facts.tenants.items():
        times = recorder.successes(tenant.operations)
        due = [operation.due for operation in tenant.operations] or [facts.begun, facts.ended]
        gaps[name] = recorder.longest_gap_around(times, min(due), max(due), span).as_json()
        failed[name] = sum(
            operation.outcome != OK and span[0] - DEADLINE_SECONDS <= operation.due <= span[1]
            for operation in tenant.operations
        )
    # The silence of a call that an earlier fault dropped is that fault's.
    heard = [call for call in facts.calls if (at := dropped_at(call)) is None or at >= span[0]]
    audio = {way: verdict.audio_gap(heard, attribute, span) for way, attribute in verdict.WAYS.items()}
    stalls = [one for one in session.stalls if verdict.within(one["at"], span)]
    tried = [call for call in facts.calls if tried_in(call, span)]
    return {
        "writeGapSeconds": max((gap["seconds"] for gap in gaps.values()), default=0.0),
        "writeGaps": gaps,
        "failedWrites": sum(failed.values()),
        "audioGapMs": max((gap for gap in audio.values() if gap is not None), default=None),
        "audioGaps": audio,
        "droppedCalls": sum(dropped_in(call, span) for call in facts.calls),
        "failedCalls": sum(call.outcome == FAILED for call in tried),
        "failedWith": sorted({str(call.reason) for call in tried if call.outcome == FAILED}),
        "forwardedCalls": sum(call.forwarded is not None and call.established for call in tried),
        "setUpSeconds": max((call.set_up_seconds for call in tried if call.set_up_seconds is not None), default=None),
        "addressMoves": moves(session.events, span),
        "wholeAfterSeconds": round(span[1] - span[0], 2) if result["wholeAt"] else None,
        "ownStallSeconds": max((one["seconds"] for one in stalls), default=0.0),
    }


def tried_in(call: CallVerdict, span: tuple[float, float]) -> bool:
    """Whether a call was being set up at some time in a window."""
    done = call.established_at or call.ended_at or call.attempted_at
    return call.attempted_at <= span[1] and done >= span[0]


def moves(events: Sequence[Mapping[str, Any]], span: tuple[float, float]) -> int:
    """How often an address of a region changed its holder in a window."""
    last: dict[str, str] = {}
    count = 0
    for one in events:
        if one["event"] != "holder" or one["at"] > span[1]:
            continue
        count += one["at"] >= span[0] and last.get(one["of"], one["is"]) != one["is"]
        last[one["of"]] = one["is"]
    return count


def dropped_at(call: CallVerdict) -> float | None:
    """When a call was dropped: it fell silent then, or ended then. None for any other call."""
    if call.outcome != DROPPED:
        return None
    silent = [way.longest_gap_at for way in (call.to_agent, call.to_caller) if way is not None and way.silent]
    return min((at for at in silent if at is not None), default=call.ended_at or 0.0)


def dropped_in(call: CallVerdict, span: tuple[float, float]) -> bool:
    """Whether a call was dropped by what happened in a window."""
    return verdict.within(dropped_at(call), span)


def interrupted_at(events: Sequence[Mapping[str, Any]]) -> float | None:
    """When the experiment began that a session was killed in; None when each was concluded. Pure."""
    begun: float | None = None
    for event in events:
        if event["event"] == "experiment":
            begun = float(event["at"])
        elif event["event"] == "concluded":
            begun = None
    return begun


def before_interruption(
    calls: Sequence[CallVerdict], events: Sequence[Mapping[str, Any]]
) -> list[CallVerdict]:  # fmt: skip
    """Without the calls that were dropped by a fault which is not judged: its experiment is run again. Pure."""
    cut = interrupted_at(events)
    if cut is None:
        return list(calls)
    return [call for call in calls if (at := dropped_at(call)) is None or at < cut]


GOALS = {
    "writeGapSeconds": ("write-gap", "writes stood still for {found:.2f} s, the goal is {goal:g} s"),
    "failedWrites": ("failed-writes", "{found} writes failed after their retries, the goal is {goal:g}"),
    "audioGapMs": ("audio", "audio was away for {found:.0f} ms, the goal is {goal:g} ms"),
    "droppedCalls": ("audio", "{found} calls were dropped, the goal is {goal:g}"),
    "failedCalls": ("failed-calls", "{found} calls could not be set up, the goal is {goal:g}"),
    "forwardedCalls": ("failed-calls", "{found} calls had to be forwarded by the carrier, the goal is {goal:g}"),
    "setUpSeconds": ("set-up", "a call took {found:.2f} s to be set up, the goal is {goal:g} s"),
    "addressMoves": ("moves", "addresses moved {found} times, the goal is {goal:g}"),
}


def goal_failures(goals: Mapping[str, float | None], found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Goals that were missed. No call may be dropped unless the experiment says so (null)."""
    failures = []
    for name, goal in {"droppedCalls": 0, **goals}.items():
        kind, words = GOALS[name]
        if goal is not None and (found[name] or 0) > goal:
            failures.append(failure(kind, words.format(found=found[name], goal=goal), of=name))
    return failures


def session_failures(
    session: SessionFacts, whole: Mapping[str, Any], items: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    """What concerns the session: loss above all, and dropped calls that belong to no fault."""
    failures = []
    for name, found in whole["writes"].items():
        for words in verdict.write_failures(name, found):
            failures.append(failure("lost" if found["lost"] else "wrong", words))
    failures += [failure("records", words) for words in verdict.record_failures(whole["callRecords"])]
    spans = [(item["at"], item["wholeAt"] or float("inf")) for item in items if item["at"] is not None]
    for call in session.facts.calls:
        if call.outcome == DROPPED and not any(dropped_in(call, span) for span in spans):
            words = f"a call was dropped outside of any fault ({call.call_id}): {call.reason}"
            failures.append(failure("audio", words))
        if call.established and (strange := verdict.strange_media(call, session.facts.media_addresses)):
            words = f"audio of {call.call_id} went past the region's relays: {', '.join(strange)}"
            failures.append(failure("path", words))
    failures += [failure("trouble", words) for words in session.facts.troubles]
    return failures


def excuse(item: dict[str, Any], failures: list[dict[str, str]]) -> None:
    """A control must be caught: what it names has to be among its or its session's failures, and is then no failure.

    It has a session of its own, so what else failed there is the control's doing too.
    """
    if not item["mustFail"]:
        return
    kinds = {one["kind"] for one in [*item["failures"], *failures]}
    missed = [kind for kind in item["mustFail"] if kind not in kinds]
    item["caught"] = [one for one in [*item["failures"], *failures] if one["kind"] in item["mustFail"]]
    item["failures"] = [failure("not-caught", f"this control was not caught: no {kind} was found") for kind in missed]
    failures[:] = []
