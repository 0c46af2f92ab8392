"""The verdict, from what clients, phones and faults recorded; the demo and drills share it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from okitoki_load import checker, ledger, recorder
from okitoki_load.ledger import Operation
from okitoki_load.report import call_outcomes
from okitoki_phones.judge import DROPPED, FAILED, CallVerdict

WAYS = {"toAgent": "to_agent", "toCaller": "to_caller"}


@dataclass(frozen=True)
class FaultOutcome:
    """One killed server. Times are epoch seconds; `recovered_at` None when it did not come back whole."""

    name: str
    pod: str
    at: float
    replaced_at: float | None
    recovered_at: float | None
    error: str | None = None

    @property
    def window(self) -> tuple[float, float]:
        return self.at, self.recovered_at or float("inf")


@dataclass(frozen=True)
class TenantFacts:
    """What one tenant's clients did and what its API returns afterwards."""

    operations: Sequence[Operation]
    records: Sequence[Mapping[str, Any]]
    run: str | None = None
    """What the tenant's writers called their run, where that is not the run's own name."""


@dataclass(frozen=True)
class Facts:
    """Everything that the verdict is made of."""

    run: str
    begun: float
    ended: float
    planned_faults: Sequence[str]
    faults: Sequence[FaultOutcome]
    tenants: Mapping[str, TenantFacts]
    calls: Sequence[CallVerdict]
    media_addresses: Sequence[str]
    troubles: Sequence[str] = ()
    """What else went wrong while it ran, in words."""
    context: Mapping[str, Any] = field(default_factory=dict)


def report(facts: Facts) -> dict[str, Any]:
    """The whole report; `failures` says in words what was not as promised, and is empty when all was."""
    writes = {name: write_report(facts, tenant) for name, tenant in facts.tenants.items()}
    calls = call_report(facts)
    records = record_report(facts.calls, {name: tenant.records for name, tenant in facts.tenants.items()})
    faults = [fault_report(facts, fault) for fault in facts.faults]
    failures = [
        *fault_failures(facts),
        *facts.troubles,
        *(failure for name, found in writes.items() for failure in write_failures(name, found)),
        *call_failures(facts),
        *record_failures(records),
    ]
    return {
        "verdict": "failed" if failures else "passed",
        "failures": failures,
        "claim": "no loss observed in these operations under these faults; a test shows errors, not their absence",
        "run": facts.run,
        **facts.context,
        "begun": facts.begun,
        "ended": facts.ended,
        "writes": writes,
        "calls": calls,
        "callRecords": records,
        "faults": faults,
    }


def write_report(facts: Facts, tenant: TenantFacts) -> dict[str, Any]:
    verdict = checker.check(tenant.operations, checker.of_run(tenant.records, tenant.run or facts.run))
    begin, end = _span(tenant.operations, facts)
    times = recorder.successes(tenant.operations)
    return {
        **verdict.as_json(),
        "longestGap": recorder.longest_gap(times, begin, end).as_json(),
        "latencySeconds": recorder.latencies(tenant.operations),
        "retried": sum(1 for operation in tenant.operations if operation.attempts > 1),
    }


def _span(operations: Sequence[Operation], facts: Facts) -> tuple[float, float]:
    """From the first intended start to the last: before and after, no success was due."""
    due = [operation.due for operation in operations]
    return (min(due), max(due)) if due else (facts.begun, facts.ended)


def write_failures(name: str, found: Mapping[str, Any]) -> list[str]:
    failures = [f"{name}: {len(found[key])} {text}" for key, text in checker.WRONG.items() if found[key]]
    if found["state"] == checker.UNDECIDED:
        failures.append(f"{name}: no write was ever acknowledged")
    return failures


def call_report(facts: Facts) -> dict[str, Any]:
    return {
        **call_outcomes(facts.calls),
        "spanningAllFaults": sum(_spans(call, facts.faults) for call in facts.calls),
        "audio": {name: way_report(facts.calls, attribute) for name, attribute in WAYS.items()},
    }


def _spans(call: CallVerdict, faults: Sequence[FaultOutcome]) -> bool:
    if call.established_at is None or call.ended_at is None or not faults:
        return False
    last = max(fault.recovered_at or float("inf") for fault in faults)
    return call.established_at < min(fault.at for fault in faults) and call.ended_at > last


def way_report(calls: Iterable[CallVerdict], attribute: str) -> dict[str, Any]:
    """One direction of all established calls together."""
    ways = [(call, getattr(call, attribute)) for call in calls if getattr(call, attribute) is not None]
    worst = max(ways, key=lambda pair: pair[1].longest_gap_ms or 0.0, default=None)
    return {
        "calls": len(ways),
        "packetsSent": sum(way.sent for _, way in ways),
        "packetsReceived": sum(way.received for _, way in ways),
        "lost": sum(way.lost for _, way in ways),
        "lostAtEnd": sum(way.lost_at_end for _, way in ways),
        "duplicated": sum(way.duplicated for _, way in ways),
        "corrupted": sum(way.corrupted for _, way in ways),
        "foreign": sum(way.foreign for _, way in ways),
        "longestGapMs": worst[1].longest_gap_ms if worst else None,
        "longestGapAt": worst[1].longest_gap_at if worst else None,
        "longestGapCallId": worst[0].call_id if worst else None,
        "longestStallOfSenderMs": max((way.longest_stall_of_sender_ms or 0.0 for _, way in ways), default=None),
    }


def call_failures(facts: Facts) -> list[str]:
    failures = []
    established = [call for call in facts.calls if call.established]
    if not established:
        failures.append("no call was ever set up")
    for call in established:
        if call.outcome == DROPPED:
            failures.append(f"an established call was dropped ({call.tenant}, {call.call_id}): {call.reason}")
        elif not call.two_way:
            failures.append(f"audio was not whole ({call.tenant}, {call.call_id}): {'; '.join(call.problems)}")
        if strange := strange_media(call, facts.media_addresses):
            failures.append(f"audio of {call.call_id} went past the region's relays: {', '.join(strange)}")
    if facts.faults and not any(_spans(call, facts.faults) for call in facts.calls):
        failures.append("no call lasted through all faults, so their effect on calls was not seen")
    return failures


def strange_media(call: CallVerdict, ours: Sequence[str]) -> list[str]:
    """Where the audio went that is none of the region's relays; a call that the carrier forwarded is none of ours."""
    return [] if call.forwarded else sorted(set(call.media_addresses) - set(ours))


def record_report(calls: Sequence[CallVerdict], records: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Whether each answered call has exactly one record, in its tenant, and nothing else has one."""
    found: dict[str, list[str]] = {}
    for tenant, items in records.items():
        for item in items:
            if item.get("callId"):
                found.setdefault(str(item["callId"]), []).append(tenant)
    answered = {call.call_id: call.tenant for call in calls if call.established and not call.forwarded}
    attempted = {call.call_id for call in calls}
    return {
        "expected": len(answered),
        "found": sum(found.get(call_id) == [tenant] for call_id, tenant in answered.items()),
        "missing": sorted(call_id for call_id in answered if call_id not in found),
        "repeated": sorted(
            call_id for call_id in answered if found.get(call_id, []).count(answered[call_id] or "") > 1
        ),
        "misplaced": sorted(call_id for call_id, tenant in answered.items() if set(found.get(call_id, [])) - {tenant}),
        "unanswered": sorted(call_id for call_id in attempted - set(answered) if call_id in found),
    }


def record_failures(found: Mapping[str, Any]) -> list[str]:
    words = {
        "missing": "answered calls have no call record",
        "repeated": "answered calls have more than one call record",
        "misplaced": "calls have a record in another tenant",
    }
    return [f"{len(found[key])} {text}: {', '.join(found[key][:3])}" for key, text in words.items() if found[key]]


def fault_report(facts: Facts, fault: FaultOutcome) -> dict[str, Any]:
    """What a fault did to each tenant's writes and to the audio, and how long the platform took to be whole."""
    window = fault.window
    gaps = {}
    for name, tenant in facts.tenants.items():
        times = recorder.successes(tenant.operations)
        gaps[name] = recorder.longest_gap_around(times, *_span(tenant.operations, facts), window).as_json()
    return {
        "fault": fault.name,
        "pod": fault.pod,
        "at": fault.at,
        "replacedAfterSeconds": _after(fault.replaced_at, fault.at),
        "wholeAfterSeconds": _after(fault.recovered_at, fault.at),
        "error": fault.error,
        "longestWriteGap": gaps,
        "longestAudioGapMs": {name: audio_gap(facts.calls, attribute, window) for name, attribute in WAYS.items()},
        "callsFailed": sum(call.outcome == FAILED and within(call.ended_at, window) for call in facts.calls),
    }


def _after(then: float | None, at: float) -> float | None:
    return None if then is None else round(then - at, 2)


def within(time: float | None, window: tuple[float, float]) -> bool:
    return time is not None and window[0] <= time <= window[1]


def audio_gap(calls: Iterable[CallVerdict], attribute: str, window: tuple[float, float]) -> float | None:
    """The longest gap that overlaps a window; None when none was above the 60 ms from which gaps are noted."""
    found = [
        gap["ms"]
        for call in calls
        if (way := getattr(call, attribute)) is not None
        for gap in way.gaps
        if gap["at"] <= window[1] and gap["at"] + gap["ms"] / 1000 >= window[0]
    ]
    return max(found, default=None)


def fault_failures(facts: Facts) -> list[str]:
    failures = [f"{fault.name}: {fault.error}" for fault in facts.faults if fault.error]
    failures += [
        f"{fault.name}: the platform was not whole again"
        for fault in facts.faults
        if fault.recovered_at is None and not fault.error
    ]
    done = [fault.name for fault in facts.faults]
    failures += [f"{name}: was not tried" for name in facts.planned_faults if name not in done]
    return failures


def stalls_of(events: Sequence[Mapping[str, Any]], ledgers: Mapping[str, Path]) -> list[dict[str, Any]]:
    """The drill's own stalls and those that the writers noted of themselves, in order of time."""
    found = [{"who": "drill", "at": one["at"], "seconds": one["seconds"]} for one in events if one["event"] == "stall"]
    for name, path in ledgers.items():
        for note in ledger.read_notes([path], "stall"):
            found.append({"who": f"writer of {name}", "at": note["at"], "seconds": note["seconds"]})
    return sorted(found, key=lambda one: one["at"])
