"""The report as one HTML page that needs nothing else. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from okitoki_chaos.drawing import draw
from okitoki_chaos.runner import NOT_POSSIBLE

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.passed { color: #2e7d32 } .failed { color: #b00020 } .other { color: #777 }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
details { border-bottom: 1px solid #eee; padding: .4rem 0 } summary { cursor: pointer }
svg { background: #fafafa; margin: .5rem 0 } svg text { font: 11px system-ui, sans-serif; fill: #333 }
svg text.in { fill: #fff } svg text.axis { fill: #777 } pre { white-space: pre-wrap; font-size: .8rem }
"""
FIGURES = {
    "writeGapSeconds": ("write gap", "{:.2f} s"),
    "failedWrites": ("failed writes", "{:.0f}"),
    "audioGapMs": ("audio gap", "{:.0f} ms"),
    "droppedCalls": ("dropped calls", "{:.0f}"),
    "failedCalls": ("failed calls", "{:.0f}"),
    "forwardedCalls": ("forwarded", "{:.0f}"),
    "setUpSeconds": ("set-up", "{:.2f} s"),
    "addressMoves": ("address moves", "{:.0f}"),
}
HEADS = ("experiment", "runs", *(head for head, _ in FIGURES.values()), "whole after", "own stall")


def render(found: Mapping[str, Any]) -> str:
    """The page."""
    verdict = found["verdict"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Drill {escape(found['plan'])}: {verdict}</title><style>{STYLE}</style>",
        f"<h1>Drill <code>{escape(found['plan'])}</code>: <span class={verdict}>{verdict}</span></h1>",
        f"<p>{escape(found['claim'])}.</p>",
        _list("What was not as promised", found["failures"]),
        _list("Slower than the goal, on a machine whose times are not judged", found["slow"]),
        _list("Not possible with this driver", found["notPossible"]),
        _list("Not measured", found.get("notMeasured", [])),
        "<h2>By experiment, the worst of its runs</h2>",
        _table(HEADS, [_row(one) for one in found["experiments"]]),
        "<p>Goals stand behind the figures. A gap is the longest time without an acknowledged write, of any tenant.",
        "An own stall is a time in which the clients' machine itself did not get on: part of the gaps, not subtracted.",
        "<h2>Writes and calls by session</h2>",
        _table(SESSION_HEADS, [row for one in found["sessions"] for row in _session_rows(one)]),
        "<h2>Each fault</h2>",
        *(_item(item) for item in found["items"]),
        "</html>",
    ]
    return "\n".join(parts)


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(line)}' for line in lines)}</ul>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}{' class=n' if column else ''}>{cell}" for column, cell in enumerate(row))

    body = "".join(f"<tr>{cells(row, 'td')}" for row in rows)
    return f"<table><tr>{cells([escape(head) for head in heads], 'th')}{body}</table>"


def _row(one: Mapping[str, Any]) -> list[str]:
    worst, goals = one["worst"], {"droppedCalls": 0, **one["goals"]}
    name = f"{escape(one['title'])}<br><span class=other>{escape(one['experiment'])}</span>"
    runs = f"{one['done']} of {one['runs']}" + (" (not possible)" if one["notPossible"] else "")
    return [
        name, runs, *(_against(worst[key], goals.get(key), shape) for key, (_, shape) in FIGURES.items()),
        _against(worst["wholeAfterSeconds"], None, "{:.1f} s"), _against(one["ownStallSeconds"], None, "{:.2f} s"),
    ]  # fmt: skip


def _against(found: float | None, goal: float | None, shape: str) -> str:
    """A figure, and its goal behind it."""
    words = "–" if found is None else shape.format(found)
    if goal is None:
        return words
    bad = found is not None and found > goal
    return f"<span class={'failed' if bad else 'passed'}>{words}</span> <span class=other>≤ {shape.format(goal)}</span>"


SESSION_HEADS = ("session and tenant", "attempted", "acknowledged", "lost", "phantom", "twice", "failed", "unknown")


def _session_rows(session: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            f"{escape(session['run'])}, {escape(name)}", str(found["attempted"]), str(found["acknowledged"]),
            *(str(len(found[key])) for key in ("lost", "phantom", "duplicates")),
            str(found["failed"]), str(found["unknown"]),
        ]
        for name, found in session["writes"].items()
    ]  # fmt: skip


def _item(item: Mapping[str, Any]) -> str:
    state = "failed" if item["failures"] else "other" if item["outcome"] == NOT_POSSIBLE else "passed"
    word = {"failed": "failed", "other": "not possible", "passed": "as promised"}[state]
    at = f"{datetime.fromtimestamp(item['at'], UTC):%H:%M:%S}" if item["at"] else "–"
    head = f"{at} <b>{escape(item['name'])}</b> on {escape(item['tenant'])}: <span class={state}>{word}</span>"
    lines = [one["words"] for one in item["failures"]] or ([str(item["error"])] if item["error"] else [])
    lines += [f"slower than the goal, not judged: {one['words']}" for one in item.get("slow", [])]
    caught = [f"caught, as it must be: {one['words']}" for one in item.get("caught", [])]
    facts = {"target": item["target"], **item["facts"], "proofs": item["proofs"], **item["figures"]}
    drawing = draw(item["scene"]) if item["scene"] else ""
    return (
        f"<details{' open' if item['failures'] else ''}><summary>{head}</summary>"
        f"<ul>{''.join(f'<li>{escape(line)}' for line in [*lines, *caught])}</ul>{drawing}"
        f"<pre>{escape(json.dumps(facts, indent=1, ensure_ascii=False))}</pre></details>"
    )
