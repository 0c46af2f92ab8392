"""A drill from end to end: plan, sessions, report. Interrupted, it goes on with `--resume`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from okitoki_chaos import plan, progress
from okitoki_chaos.cluster import ChaosError, require_local
from okitoki_chaos.journal import Journal
from okitoki_chaos.plan import Item, Plan
from okitoki_chaos.terminal import lines
from okitoki_local.demo import layout, platform
from okitoki_local.demo.containers import WORK, Containers
from okitoki_local.demo.stage import forget_secrets, placed
from okitoki_local.drill.box import Box
from okitoki_local.drill.session import Session, require_images
from okitoki_local.environment import PACKAGE_ROOT, Environment
from okitoki_local.progress import say
from okitoki_local.system import LocalClusterError, locked

REPORTS = PACKAGE_ROOT.parent / "build" / "drill"
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
        try:
            self._box.prepare()
            self._salvage(plan_)
            self._containers.remove_all()
            self._heal_what_is_left()
            if plan_.name == CONTROLS:
                self._self_check()
            self._sessions(plan_)
        finally:
            self._box.forget()
            self._containers.remove_all(grace_seconds=10)
        return self._report(plan_)

    def _plan(self) -> Plan:
        if self._options.resume is not None:
            kept = progress.kept_plan(self.folder)
            if kept is None:
                raise LocalClusterError(f"{self.folder / progress.PLAN} is not there: that is no drill's folder")
            return kept
        tenants = [one.name for one in layout.tenants_of(layout.load_manifests(self._options.manifests))]
        seed = self._options.seed if self._options.seed is not None else int(time.time())
        made = plan.make(plan.read(self._options.plan), seed, tenants, self._options.only, self._options.hours)
        progress.keep_plan(self.folder, made)
        return made

    def _salvage(self, plan_: Plan) -> None:
        """What an interrupted session had concluded counts, if its clients still run and can say what they saw."""
        for folder in progress.unjudged(self.folder, plan_):
            self._box.stop_drill()
            for line in self._box.stop_watchdog():
                say(f"left by the interrupted session: {line}")
            session = Session.again(self._env, self._containers, self._images, folder)
            if session is None or not session.salvage(self._options.manifests):
                say(f"{folder.name}: its clients are gone, so what it concluded cannot be judged and is run again")
            forget_secrets(folder)

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
        installed = self._options.as_it_is

        def session(number: int, items: Sequence[Item], hours: float | None) -> bool:
            nonlocal installed
            well = self._session(plan_, number, items, as_it_is=installed, hours=hours)
            installed = True
            return well

        progress.go_on(self.folder, plan_, session, say)

    def _session(self, plan_: Plan, number: int, items: Sequence[Item], *, as_it_is: bool, hours: float | None) -> bool:
        name, folder = progress.run_name(self.folder, number), progress.session_folder(self.folder, number)
        progress.set_aside(folder, say)
        session = Session(self._env, self._containers, self._images, folder, name, plan_.seed + number)
        try:
            return session.go(self._box, items, manifests=self._options.manifests, as_it_is=as_it_is, hours=hours)
        finally:
            forget_secrets(folder)
            self._containers.remove_all(grace_seconds=10)

    def _dry(self, plan_: Plan) -> int:
        """What would be done to the cluster as it is now; nothing is."""
        objects, _ = placed(self._env, self._options.manifests, must_exist=True)
        try:
            self._box.prepare()
            folder = progress.session_folder(self.folder, 0)
            session = Session(self._env, self._containers, self._images, folder, "dry", plan_.seed)
            session.describe(objects, layout.tenants_of(objects), None, plan_.items)
            return self._box.run(folder, "drill", WORK, "--dry-run")
        finally:
            self._box.forget()

    def _report(self, plan_: Plan) -> int:
        context: dict[str, Any] = {"versions": platform.versions(self._env, self._images)}
        found = progress.write_report(self.folder, plan_, context, times_judged=self._options.times_judged)
        print("\n".join(lines(found)), flush=True)
        say(f"report: {self.folder / 'report.html'}; raw histories beside it")
        return 0 if found["verdict"] == "passed" else 1
