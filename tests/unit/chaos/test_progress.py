"""A drill goes on where it ended: by its folder alone, also after SIGKILL in the middle of an experiment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unit.chaos.fakes import Platform, world_of

from okitoki_chaos import plan as plans
from okitoki_chaos import progress
from okitoki_chaos.journal import Journal, heal
from okitoki_chaos.judge import before_interruption, interrupted_at
from okitoki_chaos.load import read_lines
from okitoki_chaos.plan import Item, Plan
from okitoki_phones.judge import CallVerdict

TESTS = Path(__file__).parents[2]


def made(folder: Path, name: str = "full") -> Plan:
    plan = plans.make(plans.read(name), 7, ["acme"])
    progress.keep_plan(folder, plan)
    return plan


def judge(folder: Path, items: Sequence[Item]) -> None:
    folder.mkdir(exist_ok=True)
    found = {"begun": 0.0, "ended": 10.0, "items": [{"name": item.name} for item in items]}
    (folder / progress.JUDGED).write_text(json.dumps(found))


def run_on(folder: Path, plan: Plan, breaks_after: int = 10**6) -> list[list[str]]:
    """Go on with a drill whose sessions each conclude all that they are given; what each was given."""
    given: list[list[str]] = []

    def session(number: int, items: Sequence[Item], hours: float | None) -> bool:
        given.append([item.name for item in items])
        progress.set_aside(progress.session_folder(folder, number), lambda _: None)
        judge(progress.session_folder(folder, number), items)
        return len(given) < breaks_after

    progress.go_on(folder, plan, session, lambda _: None)
    return given


def test_an_interrupted_full_plan_goes_on_in_the_middle_of_its_session(tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    plan = made(folder)
    first, second, *_ = plan.sessions()
    judge(folder / "session-001", first)
    judge(folder / "session-002", second[:5])  # killed in its sixth, and judged for what it had concluded
    given = run_on(folder, plan)
    names = [item.name for item in plan.items]
    assert given[0] == [item.name for item in second[5:]]
    assert [name for session in given for name in session] == names[len(first) + 5 :]
    assert progress.done(progress.all_judged(folder, plan)) == set(names)
    assert run_on(folder, plan) == []  # and then it is finished


def test_a_session_that_could_not_be_judged_is_run_anew_under_another_name(tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    plan = made(folder)
    (folder / "session-001").mkdir()
    assert progress.unjudged(folder, plan) == [folder / "session-001"]
    assert progress.run_name(folder, 1) == "drill-s1-2"  # or the records of the first try would be phantoms
    assert progress.run_name(folder, 2) == "drill-s2"
    assert run_on(folder, plan, breaks_after=1) == [[item.name for item in plan.sessions()[0]]]
    assert (folder / "session-001.interrupted-1").exists()
    assert progress.run_name(folder, 1) == "drill-s1-3"


def test_however_often_it_is_interrupted_everything_is_kept_and_counted_once(tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    plan = made(folder)
    items = plan.sessions()[0]
    for at in range(11):
        progress.set_aside(folder / "session-001", lambda _: None)
        judge(folder / "session-001", items[at : at + 1])
    assert [path.name for path in progress.parts(folder, 1)][-2:] == ["session-001.interrupted-10", "session-001"]
    judged = progress.all_judged(folder, plan)
    assert [item["name"] for one in judged for item in one["items"]] == [item.name for item in items[:11]]


def test_a_platform_that_was_left_broken_ends_the_drill_and_a_later_one_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    plan = made(folder)
    assert len(run_on(folder, plan, breaks_after=2)) == 2
    assert len(run_on(folder, plan)) == len(plan.sessions()) - 2


def test_a_drill_is_concluded_by_its_report_which_names_what_was_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    plan = made(folder, "smoke")
    found = progress.write_report(folder, plan, {}, times_judged=True)
    assert found["verdict"] == "failed"
    assert f"{plan.items[0].name}: was not run" in found["failures"]
    assert {path.name for path in folder.iterdir()} == {"plan.json", "report.json", "report.html", "junit.xml"}


def test_a_call_that_an_unjudged_fault_dropped_is_not_held_against_anybody() -> None:
    events = [
        {"event": "experiment", "at": 10.0}, {"event": "concluded", "at": 20.0}, {"event": "experiment", "at": 30.0},
    ]  # fmt: skip
    assert interrupted_at(events) == 30.0
    assert interrupted_at(events[:2]) is None

    def call(outcome: str, ended: float) -> CallVerdict:
        return CallVerdict("id", "acme", "long", "+380", outcome, None, [], 1.0, ended, [])

    calls = [call("dropped", 15.0), call("dropped", 33.0), call("completed", 40.0)]
    assert before_interruption(calls, events) == [calls[0], calls[2]]
    assert before_interruption(calls, events[:2]) == calls


SCRIPT = """
import os, signal, sys
from pathlib import Path
import pytest
from unit.chaos import test_runner
from unit.chaos.fakes import Platform
from okitoki_chaos import ctk, runner, session
from okitoki_chaos.driver import KindDriver

with pytest.MonkeyPatch.context() as patch:
    platform = test_runner.platform.__wrapped__(patch)
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    pauses = []
    def pause():
        pauses.append(1)
        platform.states["node-a"] = "paused"
        if len(pauses) == 2:
            os.kill(os.getpid(), number)
        return ""
    platform.answer("docker pause", pause)
    runner.end_in_order()
    mine = session.Session(test_runner.SETTINGS, folder, KindDriver(platform), say=lambda words: None)
    items = [test_runner.Item(n, "primary-node-paused", n, "acme", 0.0, 1, {"hold": 0, "whole_within": 0})
             for n in range(3)]
    try:
        runner.Runner(mine, folder, print, test_runner.play).go(items)
    finally:
        print("node-a", platform.states["node-a"], "lease", platform.log[-1].startswith("kubectl delete lease"))
"""


def killed(folder: Path, number: int) -> subprocess.CompletedProcess[str]:
    """A session of three experiments that gets a signal while the fault of the second is being injected."""
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{os.pathsep.join(sys.path)}"}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(number)], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_a_drill_killed_in_an_experiment_has_the_earlier_ones_and_the_next_drill_heals_what_it_left(
    tmp_path: Path,
) -> None:
    done = killed(tmp_path, signal.SIGKILL)
    assert done.returncode == -signal.SIGKILL, done.stderr
    results: list[dict[str, Any]] = read_lines(tmp_path / "results.jsonl")
    assert [one["repetition"] for one in results] == [0]
    assert interrupted_at(read_lines(tmp_path / "timeline.jsonl")) is not None
    journal = Journal(tmp_path / "journal.jsonl")
    assert len(journal.open()) == 1
    platform = Platform()
    platform.states["node-a"] = "paused"
    heal(world_of(platform).driver, journal, "a later drill")
    assert platform.states["node-a"] == "running"
    assert journal.open() == []


def test_a_drill_that_is_asked_to_end_undoes_its_fault_and_concludes_nothing_by_it(tmp_path: Path) -> None:
    done = killed(tmp_path, signal.SIGTERM)
    assert done.returncode == 143, done.stderr
    assert "node-a running lease True" in done.stdout
    assert Journal(tmp_path / "journal.jsonl").open() == []
    assert [one["repetition"] for one in read_lines(tmp_path / "results.jsonl")] == [0]
