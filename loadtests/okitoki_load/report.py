"""The judged outcome of a run beside its raw figures, from the ledgers of all its clients. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from okitoki_load import checker
from okitoki_load.ledger import CALL, WRITE, Operation
from okitoki_load.recorder import latencies, longest_gap
from okitoki_phones.judge import COMPLETED, DROPPED, FAILED, CallVerdict, judge

Note = Mapping[str, Any]
CLAIM = "no loss observed in these operations; a test shows errors, not their absence"


@dataclass(frozen=True)
class Evidence:
    """What the clients of a run wrote down, and what the API returns afterwards."""

    run: str
    operations: Sequence[Operation]
    notes: Sequence[Note]
    records: Sequence[Mapping[str, Any]]
    troubles: Sequence[str] = ()
    """Why the evidence is not whole: ledgers that are missing or have no end."""
    context: Mapping[str, Any] = field(default_factory=dict)

    def of(self, *kinds: str) -> list[Note]:
        return [note for note in self.notes if note["type"] in kinds]


def report(evidence: Evidence) -> dict[str, Any]:
    """Everything; `failures` says in words what was not as promised, `state` is the checker's."""
    writes = [operation for operation in evidence.operations if operation.kind == WRITE]
    verdict = checker.check(writes, checker.of_run(evidence.records, evidence.run))
    calls = judge(note["record"] for note in evidence.of("leg"))
    call_records = judge_call_records(calls, evidence.records)
    failures = [
        *write_failures(verdict, whole=not evidence.troubles),
        *(f"{note['what']} (record {note['id']})" for note in evidence.of("violation")),
        *(
            f"an established call was dropped ({call.call_id}): {call.reason}"
            for call in calls
            if call.outcome == DROPPED
        ),
        *call_record_failures(call_records),
    ]
    happened = verdict.acknowledged + sum(call.established for call in calls)
    state = checker.INVALID if failures else checker.UNDECIDED if evidence.troubles or not happened else checker.VALID
    return {
        "state": state,
        "failures": failures,
        "troubles": list(evidence.troubles),
        "claim": CLAIM,
        "run": evidence.run,
        **evidence.context,
        "writes": {**verdict.as_json(), "latencySeconds": latencies(writes),
                   "retried": sum(operation.attempts > 1 for operation in writes)},
        "gaps": gaps(evidence),
        "requests": requests(evidence.of("request")),
        "calls": {**call_figures(calls, evidence.operations), "records": call_records},
        "clients": clients(evidence),
    }  # fmt: skip


def write_failures(verdict: checker.Verdict, *, whole: bool) -> list[str]:
    """Without all ledgers nobody can say what was never attempted; everything else stands."""
    return [
        f"{len(found)} {text}"
        for name, text in checker.WRONG.items()
        if (found := getattr(verdict, name)) and (whole or name != "phantom")
    ]


def gaps(evidence: Evidence) -> list[dict[str, Any]]:
    """Per tenant, region, protocol and kind of operation the longest time without success.

    From the first intended start to the last: before and after, no success was due.
    """
    groups: dict[tuple[str, str, str, str], list[Note]] = {}
    where = {note["worker"]: (note["tenant"], note["region"]) for note in evidence.of("run")}
    for note in evidence.of("request"):
        if note["judged"]:
            tenant, region = where[note["worker"]]
            groups.setdefault((tenant, region, note["protocol"], note["name"]), []).append(note)
    found = []
    for (tenant, region, protocol, name), notes in sorted(groups.items()):
        due = [note["due"] for note in notes]
        good = sorted(note["at"] for note in notes if note["error"] is None)
        gap = longest_gap(good, min(due), max(due))
        found.append(
            {"tenant": tenant, "region": region, "protocol": protocol, "operation": name, **gap.as_json(),
             "operations": len(notes), "failed": len(notes) - len(good)}
        )  # fmt: skip
    return found


def requests(notes: Iterable[Note]) -> list[dict[str, Any]]:
    """Raw exchanges by kind and name, and why they failed: nothing of this is retried or left out."""
    groups: dict[tuple[str, str], list[Note]] = {}
    for note in notes:
        if not note["judged"]:
            groups.setdefault((note["kind"], note["name"]), []).append(note)
    found = []
    for (kind, name), group in sorted(groups.items()):
        seconds = sorted(note["seconds"] for note in group)
        errors = Counter(note["error"] for note in group if note["error"] is not None)
        found.append(
            {"kind": kind, "name": name, "count": len(group), "failed": sum(errors.values()),
             "errors": dict(errors.most_common(10)), "medianSeconds": seconds[len(seconds) // 2],
             "worstSeconds": seconds[-1]}
        )  # fmt: skip
    return found


def call_figures(calls: Sequence[CallVerdict], operations: Sequence[Operation]) -> dict[str, Any]:
    """Calls attempted, set up, dropped, and the longest gap in their audio each way."""
    meant = [operation for operation in operations if operation.kind == CALL]
    ways = {"toAgent": [call.to_agent for call in calls], "toCaller": [call.to_caller for call in calls]}
    return {
        "intended": len(meant),
        **call_outcomes(calls),
        "setUpSeconds": latencies(meant),
        "longestAudioGapMs": {
            name: max((way.longest_gap_ms or 0.0 for way in found if way is not None), default=None)
            for name, found in ways.items()
        },
    }


def call_outcomes(calls: Sequence[CallVerdict]) -> dict[str, Any]:
    """How many calls came to what, and what was odd about any."""
    by_outcome = Counter(call.outcome for call in calls)
    return {
        "attempted": len(calls),
        "setUp": sum(call.established for call in calls),
        "completed": by_outcome[COMPLETED],
        "failed": by_outcome[FAILED],
        "failedWith": dict(Counter(call.reason for call in calls if call.outcome == FAILED)),
        "dropped": by_outcome[DROPPED],
        "problems": [{"callId": call.call_id, "problems": call.problems} for call in calls if call.problems],
    }


def judge_call_records(calls: Sequence[CallVerdict], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether each call that was answered has exactly one record in its tenant."""
    count = Counter(str(record["callId"]) for record in records if record.get("callId"))
    answered = [call.call_id for call in calls if call.established]
    return {
        "expected": len(answered),
        "missing": sorted(call for call in answered if not count[call]),
        "repeated": sorted(call for call in answered if count[call] > 1),
    }


def call_record_failures(found: Mapping[str, Any]) -> list[str]:
    words = {"missing": "answered calls have no call record", "repeated": "answered calls have more than one record"}
    return [f"{len(found[key])} {text}" for key, text in words.items() if found[key]]


def clients(evidence: Evidence) -> dict[str, Any]:
    """How well the clients kept time: what they measured is no better than this. Nothing is subtracted."""
    stalls = evidence.of("stall")
    worst = max(stalls, key=lambda note: note["seconds"], default=None)
    late = [note["seconds"] for note in evidence.of("late")]
    return {
        "ledgers": len(evidence.of("run")),
        "missedStarts": len(evidence.of("missed")),
        "lateStarts": len(late),
        "worstStartDelay": max(late, default=0.0),
        "stalls": len(stalls),
        "stalledSeconds": round(sum(note["seconds"] for note in stalls), 3),
        "worstStall": worst and {name: worst[name] for name in ("where", "at", "seconds")},
        "brokenRegistrations": sum(not note["registered"] for note in evidence.of("registration")),
    }


def troubles_of(notes: Sequence[Note], workers: Sequence[int]) -> list[str]:
    """What is missing of the evidence: ledgers that were never seen, and such as break off."""
    begun = {note["worker"] for note in notes if note["type"] == "run"}
    ended = {note["worker"]: note for note in notes if note["type"] == "end"}
    found = [f"there is no ledger of client {worker}" for worker in sorted(set(workers) - begun)]
    found += [f"the ledger of client {worker} breaks off: it was killed" for worker in sorted(begun - set(ended))]
    for worker, end in sorted(ended.items()):
        if end["broken"]:
            found.append(f"client {worker}: {end['broken']}")
        if end["unfinished"]:
            found.append(f"client {worker}: {end['unfinished']} operations did not end")
    return found


def lines(found: Mapping[str, Any]) -> list[str]:
    """The report in a few lines, for a terminal."""
    writes, calls, own = found["writes"], found["calls"], found["clients"]
    text = [
        f"{found['state']}: {writes['acknowledged']} writes acknowledged, {len(writes['lost'])} lost,"
        f" {len(writes['phantom'])} phantom, {len(writes['duplicates'])} duplicates, {len(writes['altered'])} altered,"
        f" {len(writes['out_of_order'])} out of order, {writes['unknown']} unknown, {writes['failed']} failed",
    ]
    if calls["attempted"]:
        text.append(
            f"calls: {calls['attempted']} attempted, {calls['setUp']} set up, {calls['dropped']} dropped,"
            f" longest audio gap {calls['longestAudioGapMs']['toAgent']} ms to agents,"
            f" {calls['longestAudioGapMs']['toCaller']} ms to callers"
        )
    text += [
        f"longest gap {gap['tenant']} {gap['region']} {gap['protocol']} {gap['operation']}: {gap['seconds']} s"
        f" ({gap['operations']} operations, {gap['failed']} failed)"
        for gap in found["gaps"]
    ]
    raw = sum(request["failed"] for request in found["requests"])
    text.append(
        f"{raw} raw failures; {writes['retried']} writes retried; {own['missedStarts']} starts missed,"
        f" {own['lateStarts']} late (worst by {own['worstStartDelay']} s);"
        f" own stalls: {own['stalls']}, worst {own['worstStall']['seconds'] if own['worstStall'] else 0} s"
    )
    return [
        *text,
        *(f"  not as promised: {one}" for one in found["failures"]),
        *(f"  not known: {one}" for one in found["troubles"]),
    ]
