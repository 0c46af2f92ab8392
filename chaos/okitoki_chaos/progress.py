"""How far a drill has come, read off its folder: what was judged is done, everything else is run when it goes on.

A session that was interrupted keeps what it concluded, if its clients could still say what they saw (`judged.json`); it
is then set aside as `session-NNN.interrupted-K`, and `session-NNN` is the rest of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from okitoki_chaos import junit, page, report, verdict
from okitoki_chaos.judge import SessionFacts, fault_of, judge
from okitoki_chaos.load import read_lines
from okitoki_chaos.plan import Item, Plan, of_json
from okitoki_chaos.session import Settings
from okitoki_phones.judge import CallVerdict
from okitoki_phones.records import write_whole

PLAN, JUDGED, REPORT = "plan.json", "judged.json", "report.json"
Judged = Mapping[str, Any]
RunSession = Callable[[int, Sequence[Item], float | None], bool]


def keep_plan(folder: Path, plan: Plan) -> None:
    folder.mkdir(parents=True)
    write_whole(folder / PLAN, plan.as_json())


def kept_plan(folder: Path) -> Plan | None:
    """The plan of a drill's folder; None where there is none."""
    path = folder / PLAN
    return of_json(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def session_folder(folder: Path, number: int) -> Path:
    return folder / f"session-{number:03d}"


def parts(folder: Path, number: int) -> list[Path]:
    """The folders of a session: those that were set aside, in order, and the present one."""
    present = session_folder(folder, number)
    aside = sorted(folder.glob(f"{present.name}.interrupted-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return [*aside, *([present] if present.exists() else [])]


def judge_session(
    folder: Path, tenants: Mapping[str, verdict.TenantFacts], *, ended: float, troubles: Sequence[str],
    calls: Sequence[CallVerdict] = (), media_addresses: Sequence[str] = (),
) -> None:  # fmt: skip
    """Judge what a session left in its folder, beside what its clients saw."""
    settings = Settings.read(folder)
    results, events = read_lines(folder / "results.jsonl"), read_lines(folder / "timeline.jsonl")
    facts = verdict.Facts(
        run=settings.run, begun=settings.begun, ended=ended, planned_faults=(),
        faults=[fault_of(result) for result in results if result["at"] is not None],
        tenants=tenants, calls=calls, media_addresses=media_addresses, troubles=troubles,
    )  # fmt: skip
    stalls = verdict.stalls_of(events, {name: folder / path for name, path in settings.ledgers.items()})
    write_whole(folder / JUDGED, judge(SessionFacts(facts, results, events, stalls)))


def load_judged(folder: Path) -> Judged | None:
    """A session's verdict; None when it was never judged."""
    path = folder / JUDGED
    found: Judged | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def all_judged(folder: Path, plan: Plan) -> list[Judged]:
    """Everything that counts, in order."""
    numbers = range(1, len(plan.sessions()) + 1)
    found = [load_judged(part) for number in numbers for part in parts(folder, number)]
    return [one for one in found if one is not None]


def done(judged: Sequence[Judged]) -> set[str]:
    """Names of the items that were concluded."""
    return {item["name"] for one in judged for item in one["items"]}


def unjudged(folder: Path, plan: Plan) -> list[Path]:
    """Folders of sessions that were interrupted, and of which nothing counts yet."""
    present = [session_folder(folder, number) for number in range(1, len(plan.sessions()) + 1)]
    return [path for path in present if path.exists() and load_judged(path) is None]


def run_name(folder: Path, number: int) -> str:
    """What a session is called: another name each time, or its records would be taken for those of the last try."""
    tries = len(parts(folder, number))
    return f"{folder.name}-s{number}" + (f"-{tries + 1}" if tries else "")


def set_aside(folder: Path, say: Callable[[str], None]) -> None:
    """Keep what an earlier try of a session left, out of the way of the next one."""
    if not folder.exists():
        return
    number = 1
    while (target := folder.with_name(f"{folder.name}.interrupted-{number}")).exists():
        number += 1
    folder.rename(target)
    say(f"kept what an interrupted session left: {target.name}")


def go_on(folder: Path, plan: Plan, run: RunSession, say: Callable[[str], None]) -> None:
    """Run what is not done, session by session; ends with the plan's hours, or when the platform is left broken.

    `run` is given the session's number, its items that are left, and the hours that are.
    """
    judged = all_judged(folder, plan)
    begun, before = time.monotonic(), sum(one["ended"] - one["begun"] for one in judged)
    finished = done(judged)
    sessions = plan.sessions()
    for number, items in enumerate(sessions, 1):
        left = [item for item in items if item.name not in finished]
        if not left:
            continue
        hours = None if plan.hours is None else plan.hours - (before + time.monotonic() - begun) / 3600
        if hours is not None and hours <= 0:
            return
        say(f"session {number} of {len(sessions)}: {len(left)} of {len(items)} experiments")
        if not run(number, left, hours):
            say("the platform is not well, and what would follow would be no single fault: ending here")
            return


def write_report(folder: Path, plan: Plan, context: Mapping[str, Any], *, times_judged: bool) -> dict[str, Any]:
    """The report of all sessions as JSON, JUnit and a page; returns it."""
    judged = all_judged(folder, plan)
    finished = done(judged)
    # A plan that draws is as long as its hours; any other is its items.
    missing = [item.name for item in plan.items if item.name not in finished] if plan.hours is None else []
    found = report.report(
        plan.as_json(), judged, missing, {"run": folder.name, **context}, times_judged=times_judged
    )  # fmt: skip
    (folder / "junit.xml").write_text(junit.render(found), encoding="utf-8")
    (folder / "report.html").write_text(page.render(found), encoding="utf-8")
    write_whole(folder / REPORT, found)  # the last one: a folder that has it is a drill that was concluded
    return found
