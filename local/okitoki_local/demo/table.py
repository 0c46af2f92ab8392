"""The verdict as a person reads it on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from okitoki_chaos.terminal import Row, aligned


def render(found: Mapping[str, Any]) -> str:
    """The whole verdict."""
    sections = [
        ("Writes over HTTPS", aligned(write_rows(found["writes"]))),
        ("Calls over SIP", aligned(call_rows(found["calls"]))),
        ("Audio, packet by packet", aligned(audio_rows(found["calls"]["audio"]))),
        ("Call records", aligned(record_rows(found["callRecords"]))),
    ]
    if found["faults"]:
        sections.append(("Servers killed", aligned(fault_rows(found["faults"]))))
    lines = [""]
    for title, body in sections:
        lines += [title, *body, ""]
    lines.append(f"VERDICT: {found['verdict'].upper()}")
    lines += [f"  - {failure}" for failure in found["failures"]]
    return "\n".join(lines)


def write_rows(writes: Mapping[str, Any]) -> list[Row]:
    head = (
        "tenant",
        "acknowledged",
        "lost",
        "phantom",
        "twice",
        "altered",
        "failed",
        "unknown",
        "longest gap",
        "worst latency",
    )
    rows: list[Row] = [head]
    for name, one in writes.items():
        rows.append(
            (
                name, str(one["acknowledged"]),
                *(str(len(one[key])) for key in ("lost", "phantom", "duplicates", "altered")),
                str(one["failed"]), str(one["unknown"]), f"{one['longestGap']['seconds']:.2f} s",
                seconds(one["latencySeconds"].get("worst")),
            )
        )  # fmt: skip
    return rows


def call_rows(calls: Mapping[str, Any]) -> list[Row]:
    keys = ("attempted", "setUp", "failed", "dropped", "spanningAllFaults")
    return [
        ("", "attempted", "set up", "failed", "dropped", "through all faults"),
        ("calls", *(str(calls[key]) for key in keys)),
    ]


def audio_rows(audio: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = [
        ("direction", "sent", "received", "lost", "altered", "of others", "longest gap", "sender's stall")
    ]
    for way, title in (("toAgent", "caller to agent"), ("toCaller", "agent to caller")):
        one = audio[way]
        rows.append(
            (
                title, *(str(one[key]) for key in ("packetsSent", "packetsReceived", "lost", "corrupted", "foreign")),
                milliseconds(one["longestGapMs"]), milliseconds(one["longestStallOfSenderMs"]),
            )
        )  # fmt: skip
    return rows


def record_rows(records: Mapping[str, Any]) -> list[Row]:
    keys = ("missing", "repeated", "misplaced", "unanswered")
    return [
        ("", "answered", "with one record", *keys),
        ("calls", str(records["expected"]), str(records["found"]), *(str(len(records[key])) for key in keys)),
    ]


def fault_rows(faults: Sequence[Mapping[str, Any]]) -> list[Row]:
    rows: list[Row] = [
        ("server", "pod", "replaced", "all whole", "write gap", "audio to agent", "audio to caller", "calls failed")
    ]
    for one in faults:
        worst = max((gap["seconds"] for gap in one["longestWriteGap"].values()), default=0.0)
        rows.append(
            (
                one["fault"], one["pod"], seconds(one["replacedAfterSeconds"]), seconds(one["wholeAfterSeconds"]),
                f"{worst:.2f} s", *(below(one["longestAudioGapMs"][way]) for way in ("toAgent", "toCaller")),
                str(one["callsFailed"]),
            )
        )  # fmt: skip
    return rows


def seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def below(value: float | None) -> str:
    """Gaps are noted from 60 ms on."""
    return "< 60 ms" if value is None else f"{value:.0f} ms"
