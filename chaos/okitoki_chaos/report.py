"""The whole drill's report, out of its sessions' ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from okitoki_chaos.judge import GOALS
from okitoki_chaos.runner import NOT_POSSIBLE

TIMES = ("writeGapSeconds", "audioGapMs", "setUpSeconds")
"""Figures that say as much about the machine as about the platform."""
WORST = (*GOALS, "wholeAfterSeconds")


def report(
    plan: Mapping[str, Any],
    sessions: Sequence[Mapping[str, Any]],
    missing: Sequence[str],
    context: Mapping[str, Any],
    *,
    times_judged: bool = True,
) -> dict[str, Any]:
    """`missing` are items of the plan that no concluded session has: a drill that was cut short has not passed.

    Without `times_judged` a gap beyond its goal is `slow` and no failure; whatever was lost, dropped or left broken is.
    """
    items = [
        item if times_judged else time_apart(item)
        for session in sessions for item in session["items"]
    ]  # fmt: skip
    failures = [f"{item['name']}: {one['words']}" for item in items for one in item["failures"]]
    failures += [f"{session['run']}: {one['words']}" for session in sessions for one in session["failures"]]
    failures += [f"{name}: was not run" for name in missing]
    operations = sum(found["attempted"] for session in sessions for found in session["writes"].values())
    bitten = sum(item["bitAt"] is not None for item in items)
    lost = sum(len(found["lost"]) for session in sessions for found in session["writes"].values())
    if not bitten:
        failures.append("no fault was injected")
    return {
        "verdict": "failed" if failures else "passed",
        "claim": claim(operations, bitten, int(plan["seed"]), lost, any(item["mustFail"] for item in items)),
        "plan": plan["name"],
        "seed": plan["seed"],
        **context,
        "operations": operations,
        "faults": bitten,
        "notPossible": sorted({str(item["error"]) for item in items if item["outcome"] == NOT_POSSIBLE}),
        "failures": failures,
        "slow": [f"{item['name']}: {one['words']}" for item in items for one in item.get("slow", [])],
        "experiments": experiments(items),
        "sessions": [{key: value for key, value in one.items() if key != "items"} for one in sessions],
        "items": items,
    }


def time_apart(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item with the goals of time that it missed among `slow` instead of `failures`."""
    late = [one for one in item["failures"] if one.get("of") in TIMES]
    return {**item, "failures": [one for one in item["failures"] if one not in late], "slow": late}


def claim(operations: int, faults: int, seed: int, lost: int, control: bool) -> str:
    """Exactly what was seen, and no more."""
    if control:
        return f"controls: {lost} acknowledged writes lost on purpose, in {operations} operations with seed {seed}"
    seen = "no acknowledged loss" if lost == 0 else f"{lost} acknowledged writes lost"
    return (
        f"{seen} observed in {operations} operations under {faults} faults with seed {seed};"
        " a test shows errors, not their absence"
    )


def experiments(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By experiment: how often it was run, the worst of each figure, and what was missed."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        found.setdefault(item["experiment"], []).append(item)
    return [
        {
            "experiment": name,
            "title": runs[0]["title"],
            "row": runs[0]["row"],
            "goals": runs[0]["goals"],
            "runs": len(runs),
            "done": sum(not run["failures"] and run["outcome"] != NOT_POSSIBLE for run in runs),
            "notPossible": sum(run["outcome"] == NOT_POSSIBLE for run in runs),
            "worst": {key: worst(runs, key) for key in WORST},
            "ownStallSeconds": worst(runs, "ownStallSeconds"),
        }
        for name, runs in found.items()
    ]


def worst(runs: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [run["figures"][key] for run in runs if run["figures"].get(key) is not None]
    return max(values, default=None)
