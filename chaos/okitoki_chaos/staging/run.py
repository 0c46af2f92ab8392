"""A drill in a cluster from end to end: what was left is healed, the plan begun or gone on with, the verdict told."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from okitoki_chaos import plan as plans
from okitoki_chaos import progress
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.cluster_journal import ClusterJournal
from okitoki_chaos.driver import Driver
from okitoki_chaos.guard import ALLOWED, CONSENT, Refused, consents
from okitoki_chaos.journal import heal
from okitoki_chaos.lock import ClusterLock
from okitoki_chaos.plan import Item, Plan
from okitoki_chaos.runner import Runner
from okitoki_chaos.session import SETTINGS, Session
from okitoki_chaos.staging import events
from okitoki_chaos.staging.config import Config
from okitoki_chaos.staging.load import NOT_MEASURED, Locusts, read_back
from okitoki_chaos.terminal import lines
from okitoki_chaos.world import World

Say = Callable[[str], None]
PASSED, FAILED = 0, 1


class StagingDrill:
    """`results` is a folder that outlives the pod; each drill has one of its own in it."""

    def __init__(self, config: Config, results: Path, driver: Driver, say: Say) -> None:
        self._config, self._results, self._driver, self._say = config, results, driver, say

    def go(self) -> int:
        """0 when every verdict holds, 1 when not. Raises Refused, and ChaosError when it cannot be run; that is told
        like a verdict."""
        objects = self.objects()
        try:
            self._require_consent(objects)
            self._heal_what_is_left()
            found = self._run()
        except ChaosError as error:
            self._tell(objects, events.REFUSED if isinstance(error, Refused) else events.FAILED, str(error))
            raise
        print("\n".join(lines(found)), flush=True)
        passed = found["verdict"] == "passed"
        self._tell(objects, events.PASSED if passed else events.FAILED, events.message(found))
        return PASSED if passed else FAILED

    def _run(self) -> Mapping[str, Any]:
        """Begin or go on; the report."""
        folder, plan = self.begin()
        self._say(f"drill {folder.name}: plan {plan.name}, seed {plan.seed}, {len(plan.items)} experiments")
        for left in progress.unjudged(folder, plan):
            self._salvage(left)
        progress.go_on(folder, plan, functools.partial(self._session, folder), self._say)
        context: dict[str, Any] = {"driver": self._driver.name, "notMeasured": [NOT_MEASURED]}
        return progress.write_report(folder, plan, context, times_judged=self._config.times == "judged")

    def objects(self) -> Sequence[Mapping[str, Any]]:
        """The Tenants and VoiceRegions that take part. Raises ChaosError when one is missing."""
        names = [one.name for one in self._config.tenants]
        return World.look(self._driver, names, self._config.regions, 0).objects

    def _require_consent(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Before any load; each fault asks again, for everybody whom it concerns."""
        if missing := [f"{obj['kind']} {obj['metadata']['name']}" for obj in objects if not consents(obj)]:
            raise Refused(f"refusing: {', '.join(missing)}: no label {CONSENT}={ALLOWED}")

    def _heal_what_is_left(self) -> None:
        """An earlier drill may have been killed with a fault open. Under the lock: a living one's must stay."""
        cluster = self._driver.cluster
        with ClusterLock(cluster, "heal", self._say):
            journal = ClusterJournal(cluster, self._config.namespace)
            for done in heal(self._driver, journal, "a later drill"):
                self._say(f"an earlier drill had left this open: {done}")
            journal.forget_closed()

    def begin(self) -> tuple[Path, Plan]:
        """The latest drill of this plan that has no report yet, or a new one."""
        config = self._config
        for folder in sorted(self._results.glob("drill-*"), reverse=True) if config.resume else ():
            kept = progress.kept_plan(folder)
            if kept is not None and kept.name == config.plan and not (folder / progress.REPORT).exists():
                self._say(f"going on with {folder.name}, which was interrupted")
                return folder, kept
        folder, plan = self._results / f"drill-{datetime.now(UTC):%Y%m%d-%H%M%S}", self.plan()
        progress.keep_plan(folder, plan)
        return folder, plan

    def plan(self) -> Plan:
        config = self._config
        seed = config.seed if config.seed is not None else int(time.time())
        tenants = [one.name for one in config.tenants]
        return plans.make(plans.read(config.plan), seed, tenants, config.only, config.hours)

    def _session(self, root: Path, number: int, items: Sequence[Item], hours: float | None) -> bool:
        """Load up, experiments, load down, judged; whether the platform was well at the end."""
        config, folder = self._config, progress.session_folder(root, number)
        name = progress.run_name(root, number)
        progress.set_aside(folder, self._say)
        folder.mkdir()
        seed = items[0].index + 1
        load = Locusts(folder, config.tenants, config.load, seed)
        begun = time.time()
        try:
            settings = config.settings(name, seed, begun, load.start())
            settings.write(folder)
            runner = Runner(Session(settings, folder, self._driver, self._say), folder, self._say)
            well = runner.go(items, hours)
        finally:
            troubles = load.end()
        self._judge(folder, time.time(), troubles)
        return well

    def _salvage(self, folder: Path) -> None:
        """What an interrupted session concluded counts: its users' ledgers are on the disk, line by line."""
        if not (folder / SETTINGS).exists() or not (folder / "results.jsonl").exists():
            return
        self._say(f"judging what {folder.name} had concluded when it was interrupted")
        self._judge(folder, (folder / "results.jsonl").stat().st_mtime, [])

    def _judge(self, folder: Path, ended: float, troubles: Sequence[str]) -> None:
        tenants = {tenant.name: read_back(folder, tenant) for tenant in self._config.tenants}
        progress.judge_session(folder, tenants, ended=ended, troubles=troubles)

    def _tell(self, objects: Sequence[Mapping[str, Any]], reason: str, words: str) -> None:
        """An Event that cannot be written changes no verdict."""
        for obj in objects:
            try:
                self._driver.cluster.apply("create", events.event(obj, reason, words))
            except ChaosError as error:
                self._say(f"the event on {obj['metadata']['name']} could not be written: {error}")
