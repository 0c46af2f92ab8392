"""A drill from end to end: plan, sessions, report. Interrupted, it goes on with `--resume`."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from okitoki_chaos import junit, page, plan, report
from okitoki_chaos.cluster import ChaosError, require_local
from okitoki_chaos.journal import Journal
from okitoki_chaos.plan import Item, Plan
from okitoki_local.demo import layout, platform
from okitoki_local.demo.containers import WORK, Containers
from okitoki_local.demo.stage import placed
from okitoki_local.demo.table import aligned
from okitoki_local.drill.box import Box
from okitoki_local.drill.session import Session, load_judged, require_images, set_aside
from okitoki_local.environment import PACKAGE_ROOT, Environment
from okitoki_local.progress import say
from okitoki_local.system import LocalClusterError, locked
from okitoki_phones.records import write_whole

REPORTS = PACKAGE_ROOT.parent / "build" / "drill"
PLAN = "plan.json"
CONTROLS = "controls"


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line may choose."""

    plan: str = "smoke"
    seed: int | None = None
    only: tuple[str, ...] = ()
    hours: float | None = None
    resume: Path | None = None
    dry_run: bool = False
    as_it_is: bool = False
    times_judged: bool = True
    manifests: Path = layout.EXAMPLES
    reports: Path = REPORTS


def drill(env: Environment, options: Options) -> int:
    """Run it; 0 when every verdict holds, 1 when not."""
    try:
        require_local(platform.KindCluster(env), env.name)
        images = platform.image_references(env)
        require_images(images)
        with locked(env.state / "demo.lock", "the demo or a drill"):
            return Drill(env, images, options).go()
    except ChaosError as error:
        raise LocalClusterError(str(error)) from error


class Drill:
    """One drill; its folder holds the plan, a folder for each session, and the report."""

    def __init__(self, env: Environment, images: dict[str, str], options: Options) -> None:
        self._env, self._images, self._options = env, images, options
        self._containers = Containers(env, images["phones"])
        self.folder = options.resume or options.reports / f"drill-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        self._box = Box(env, images["drill"], self.folder / "kubeconfig")

    def go(self) -> int:
        plan_ = self._plan()
        if self._options.dry_run:
            return self._dry(plan_)
        say(f"drill {self.folder.name}: plan {plan_.name}, seed {plan_.seed}, {len(plan_.items)} experiments")
        self._containers.remove_all()
        try:
            self._box.prepare()
            self._heal_what_is_left()
            if plan_.name == CONTROLS:
                self._self_check()
            self._sessions(plan_)
        finally:
            self._box.forget()
            self._containers.remove_all(grace_seconds=10)
        return self._report(plan_)

    def _plan(self) -> Plan:
        path = self.folder / PLAN
        if self._options.resume is not None:
            if not path.exists():
                raise LocalClusterError(f"{path} is not there: that is no drill's folder")
            return plan.of_json(json.loads(path.read_text(encoding="utf-8")))
        tenants = [one.name for one in layout.tenants_of(layout.load_manifests(self._options.manifests))]
        seed = self._options.seed if self._options.seed is not None else int(time.time())
        made = plan.make(plan.read(self._options.plan), seed, tenants, self._options.only, self._options.hours)
        self.folder.mkdir(parents=True)
        write_whole(path, made.as_json())
        return made

    def _heal_what_is_left(self) -> None:
        """A drill that was killed may have left faults open, here or in an earlier folder."""
        for path in sorted(self.folder.parent.glob("drill-*/session-*/journal.jsonl")):
            if Journal(path).open():
                say(f"an earlier drill left faults open: {path.parent}")
                if self._box.run(path.parent, "heal", WORK) != 0:
                    raise LocalClusterError(f"what {path.parent} left open could not be undone")

    def _self_check(self) -> None:
        """Clients and checker are shown servers that acknowledge and drop, before anything else is believed."""
        if self._box.run(self.folder, "self-check", WORK) != 0:
            raise LocalClusterError("a server that acknowledges and drops was not caught: no verdict is worth anything")

    def _sessions(self, plan_: Plan) -> None:
        sessions = plan_.sessions()
        begun, before = time.monotonic(), self._elapsed(len(sessions))
        installed = self._options.as_it_is
        for number, items in enumerate(sessions, 1):
            folder = self._session_folder(number)
            if load_judged(folder) is not None:
                continue
            left = None if plan_.hours is None else plan_.hours - (before + time.monotonic() - begun) / 3600
            if left is not None and left <= 0:
                return
            set_aside(folder)
            say(f"session {number} of {len(sessions)}: {len(items)} experiments")
            if not self._session(plan_, number, items, as_it_is=installed, hours=left):
                say("the platform is not well, and what would follow would be no single fault: ending here")
                return
            installed = True

    def _session(self, plan_: Plan, number: int, items: Sequence[Item], *, as_it_is: bool, hours: float | None) -> bool:
        name = f"{self.folder.name}-s{number}"
        folder = self._session_folder(number)
        session = Session(self._env, self._containers, self._images, folder, name, plan_.seed + number)
        try:
            return session.go(self._box, items, manifests=self._options.manifests, as_it_is=as_it_is, hours=hours)
        finally:
            session.forget_secrets()
            self._containers.remove_all(grace_seconds=10)

    def _session_folder(self, number: int) -> Path:
        return self.folder / f"session-{number:03d}"

    def _elapsed(self, count: int) -> float:
        """Seconds of the sessions that were concluded earlier."""
        judged = [load_judged(self._session_folder(number)) for number in range(1, count + 1)]
        return sum(float(one["ended"] - one["begun"]) for one in judged if one is not None)

    def _dry(self, plan_: Plan) -> int:
        """What would be done to the cluster as it is now; nothing is."""
        objects, _ = placed(self._env, self._options.manifests, must_exist=True)
        try:
            self._box.prepare()
            folder = self._session_folder(0)
            session = Session(self._env, self._containers, self._images, folder, "dry", plan_.seed)
            session.describe(objects, layout.tenants_of(objects), None, plan_.items)
            return self._box.run(folder, "drill", WORK, "--dry-run")
        finally:
            self._box.forget()

    def _report(self, plan_: Plan) -> int:
        sessions = [load_judged(self._session_folder(number)) for number in range(1, len(plan_.sessions()) + 1)]
        judged = [one for one in sessions if one is not None]
        done = {item["name"] for one in judged for item in one["items"]}
        # A plan that draws is as long as its hours; any other is its items.
        missing = [item.name for item in plan_.items if item.name not in done] if plan_.hours is None else []
        context: dict[str, Any] = {"run": self.folder.name, "versions": platform.versions(self._env, self._images)}
        found = report.report(plan_.as_json(), judged, missing, context, times_judged=self._options.times_judged)
        write_whole(self.folder / "report.json", found)
        (self.folder / "junit.xml").write_text(junit.render(found), encoding="utf-8")
        (self.folder / "report.html").write_text(page.render(found), encoding="utf-8")
        print("\n".join(lines(found)), flush=True)
        say(f"report: {self.folder / 'report.html'}; raw histories beside it")
        return 0 if found["verdict"] == "passed" else 1


def lines(found: dict[str, Any]) -> list[str]:
    """The verdict as a person reads it on a terminal. Pure."""
    rows = [
        (
            "experiment",
            "runs",
            "write gap",
            "goal",
            "failed",
            "audio gap",
            "dropped",
            "calls failed",
            "set-up",
            "whole after",
            "own stall",
        )
    ]
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
    shown += [f"slower than the goal, not judged: {line}" for line in found["slow"]]
    shown += [f"{found['claim']}", f"VERDICT: {found['verdict'].upper()}"]
    return shown + [f"  - {line}" for line in found["failures"]]


def words(value: float | None, shape: str) -> str:
    return "-" if value is None else shape.format(value)
