"""A drill's verdict as a person reads it on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Sequence[str]
HEADS = (
    "experiment", "runs", "write gap", "goal", "failed", "audio gap", "dropped", "calls failed", "set-up",
    "whole after", "own stall",
)  # fmt: skip


def aligned(rows: Sequence[Row]) -> list[str]:
    """Rows as lines; the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "   ".join(cells).rstrip())
    return lines


def lines(found: Mapping[str, Any]) -> list[str]:
    """The verdict as a person reads it on a terminal. Pure."""
    rows: list[Row] = [HEADS]
    for one in found["experiments"]:
        worst, goals = one["worst"], one["goals"]
        rows.append((
            one["experiment"], "not possible" if one["notPossible"] else f"{one['done']} of {one['runs']}",
            words(worst["writeGapSeconds"], "{:.2f} s"), words(goals.get("writeGapSeconds"), "{:.1f} s"),
            words(worst["failedWrites"], "{:.0f}"), words(worst["audioGapMs"], "{:.0f} ms"),
            words(worst["droppedCalls"], "{:.0f}"), words(worst["failedCalls"], "{:.0f}"),
            words(worst["setUpSeconds"], "{:.2f} s"), words(worst["wholeAfterSeconds"], "{:.1f} s"),
            words(one["ownStallSeconds"], "{:.2f} s"),
        ))  # fmt: skip
    shown = ["", *aligned(rows), ""]
    shown += [f"not possible here: {line}" for line in found["notPossible"]]
    shown += [f"not measured: {line}" for line in found.get("notMeasured", [])]
    shown += [f"slower than the goal, not judged: {line}" for line in found["slow"]]
    shown += [f"{found['claim']}", f"VERDICT: {found['verdict'].upper()}"]
    return shown + [f"  - {line}" for line in found["failures"]]


def words(value: float | None, shape: str) -> str:
    return "-" if value is None else shape.format(value)
