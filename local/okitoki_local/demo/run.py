"""The demo from end to end: the table of contents of the modules beside it."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from okitoki_chaos import verdict
from okitoki_chaos.cluster import ChaosError, require_local
from okitoki_chaos.timeline import Timeline
from okitoki_local.demo import layout, platform, table
from okitoki_local.demo.containers import Containers
from okitoki_local.demo.layout import Addresses, TenantPlan
from okitoki_local.demo.scenario import Scenario
from okitoki_local.demo.stage import Stage, forget_secrets
from okitoki_local.demo.traffic import Traffic
from okitoki_local.environment import Environment
from okitoki_local.progress import say, step
from okitoki_local.system import LocalClusterError, locked
from okitoki_phones.records import write_whole

RUNS_KEPT = 5


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line may choose."""

    traffic_only: bool = False
    faults: bool = True
    seed: int | None = None
    manifests: Path = layout.EXAMPLES
    """One VoiceRegion and at least one Tenant; their addresses are replaced by free ones."""
    reports: Path = dataclasses.field(default_factory=platform.report_folder)


def demo(env: Environment, options: Options) -> int:
    """Run it; 0 when everything was as promised, 1 when not."""
    found = drill(env, options)
    return 1 if found["failures"] else 0


def drill(env: Environment, options: Options) -> dict[str, Any]:
    """One run; its report, whatever the verdict."""
    cluster = platform.KindCluster(env)
    try:
        require_local(cluster, env.name)
    except ChaosError as error:
        raise LocalClusterError(str(error)) from error
    images = platform.image_references(env)
    with locked(env.state / "demo.lock", "the demo"):
        containers = Containers(env, images["phones"])
        if left := containers.remove_all():
            say(f"removed {len(left)} containers of an earlier run")
        run = Run(env, cluster, containers, images, options)
        try:
            return run.go()
        finally:
            # After an error too, what phones and writers saw is evidence.
            forget_secrets(run.folder)
            try:
                containers.remove_all(grace_seconds=10)
            except LocalClusterError as error:  # not to hide what went wrong before it
                say(f"the demo's containers could not be removed: {error}")


class Run(Stage):
    """One run of the demo."""

    def __init__(
        self, env: Environment, cluster: platform.KindCluster, containers: Containers, images: Mapping[str, str],
        options: Options,
    ) -> None:  # fmt: skip
        now = datetime.now(UTC)
        name = f"demo-{now:%Y%m%d-%H%M%S}"
        seed = options.seed if options.seed is not None else int(now.timestamp())
        super().__init__(env, containers, images, options.reports / name, name, seed)
        self._cluster = cluster
        self._options = options
        self._timeline = Timeline(self.folder / "timeline.jsonl")
        forget_old_runs(self.folder.parent, RUNS_KEPT)

    def go(self) -> dict[str, Any]:
        say(f"demo {self.name}, seed {self.seed}")
        objects, addresses = self.install(self._options.manifests, as_it_is=self._options.traffic_only)
        tenants = layout.tenants_of(objects)
        watcher = self.wait_ready(objects)
        traffic = self.start(addresses, tenants)
        scenario = Scenario(self._cluster, objects, watcher, traffic, self._timeline, self.seed)
        with step("waiting until every server says that it is whole"):
            scenario.wait_whole()
        targets = platform.targets(objects, tenants) if self._options.faults else []
        troubles = []
        try:
            scenario.run(targets)
            traffic.wait_flow("after the last fault", writes=100, calls=1)
        except LocalClusterError as error:  # what was recorded until now is judged all the same
            say(f"  {error}")
            troubles.append(str(error))
        with step("ending the traffic: hanging up, then phones and writers off"):
            troubles += traffic.end()
        facts = self._facts(traffic, addresses, tenants, [target.name for target in targets], scenario.outcomes)
        return self._conclude(dataclasses.replace(facts, troubles=troubles))

    def _facts(
        self, traffic: Traffic, addresses: Addresses, tenants: Sequence[TenantPlan], planned: Sequence[str],
        outcomes: Sequence[verdict.FaultOutcome],
    ) -> verdict.Facts:  # fmt: skip
        """Read everything back: the phones' records, the ledgers, and what each tenant's API has stored."""
        found, calls = self.read_back(traffic, addresses, tenants)
        return verdict.Facts(
            run=self.name,
            begun=self.begun,
            ended=time.time(),
            planned_faults=planned,
            faults=outcomes,
            tenants=found,
            calls=calls,
            media_addresses=addresses.media,
            context={"seed": self.seed, "versions": platform.versions(self.env, self.images)},
        )

    def _conclude(self, facts: verdict.Facts) -> dict[str, Any]:
        found = verdict.report(facts)
        write_whole(self.folder / "calls.json", [call.as_json() for call in facts.calls])
        write_whole(self.folder / "report.json", found)
        write_whole(self.folder.parent / "report.json", found)
        print(table.render(found), flush=True)
        say(f"report: {self.folder.parent / 'report.json'}; details: {self.folder}")
        return found


def forget_old_runs(folder: Path, keep: int) -> None:
    """Ledgers and call records of the last runs are kept, older ones are not."""
    runs = sorted(path for path in folder.glob("demo-*") if path.is_dir())
    for old in runs[:-keep]:
        shutil.rmtree(old)
