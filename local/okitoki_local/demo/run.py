"""The demo from end to end: the table of contents of the modules beside it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from okitoki_chaos import verdict
from okitoki_chaos.cluster import ChaosError, require_local
from okitoki_chaos.timeline import Timeline
from okitoki_load import ledger
from okitoki_local.demo import layout, platform, table, waiting
from okitoki_local.demo.containers import WORK, Containers
from okitoki_local.demo.layout import Addresses, TenantPlan
from okitoki_local.demo.scenario import Scenario
from okitoki_local.demo.traffic import Traffic, agents_config, api_config, carrier_config, writer_config
from okitoki_local.environment import Environment
from okitoki_local.progress import say, step
from okitoki_local.system import LocalClusterError, locked, wait_until
from okitoki_phones.judge import judge
from okitoki_phones.records import read_lines, write_whole

READY_SECONDS = 900.0
API_SECONDS = 120.0
REGISTRATION_SECONDS = 120.0
RECORDS_SECONDS = 90.0
RUNS_KEPT = 5
REGIONS = "voiceregions.platform.oki-toki.net"


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


def apply_manifests(env: Environment, folder: Path) -> list[layout.Object]:
    """Apply a folder's resources at addresses of this cluster's network; returns them as applied."""
    objects = placed(env, folder)[0]
    platform.apply(env, objects)
    return objects


def placed(env: Environment, folder: Path, *, must_exist: bool = False) -> tuple[list[layout.Object], Addresses]:
    """A folder's resources at addresses of this cluster's network: those that its region has, else free ones."""
    wanted = layout.load_manifests(folder)
    region = layout.region_of(wanted)["metadata"]["name"]
    there = platform.existing(env, REGIONS, region)
    if there is None and must_exist:
        raise LocalClusterError(f"there is no VoiceRegion {region}: run the whole demo once")
    with step("choosing addresses that nobody uses"):
        addresses = layout.choose(env, there, len(layout.tenants_of(wanted)))
    return layout.place(wanted, addresses), addresses


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
            run.forget_secrets()
            try:
                containers.remove_all(grace_seconds=10)
            except LocalClusterError as error:  # not to hide what went wrong before it
                say(f"the demo's containers could not be removed: {error}")


class Run:
    """One run of the demo."""

    def __init__(
        self, env: Environment, cluster: platform.KindCluster, containers: Containers, images: Mapping[str, str],
        options: Options,
    ) -> None:  # fmt: skip
        now = datetime.now(UTC)
        self.name = f"demo-{now:%Y%m%d-%H%M%S}"
        self.folder = options.reports / self.name
        self.folder.mkdir(parents=True)
        self.begun = time.time()
        self._since = datetime.fromtimestamp(self.begun - 60, UTC).isoformat(timespec="seconds")
        self._seed = options.seed if options.seed is not None else int(self.begun)
        self._env, self._cluster, self._containers, self._images = env, cluster, containers, images
        self._options = options
        self._timeline = Timeline(self.folder / "timeline.jsonl")
        forget_old_runs(self.folder.parent, RUNS_KEPT)

    def go(self) -> dict[str, Any]:
        say(f"demo {self.name}, seed {self._seed}")
        objects, addresses = self._install()
        tenants = layout.tenants_of(objects)
        watcher = waiting.Watcher(self._cluster.kubectl, [waiting.title(obj) for obj in objects])
        with step("waiting until the region and the tenants are Ready"):
            watcher.wait(READY_SECONDS)
        traffic = Traffic(self._containers, self.folder, tenants)
        self._start(traffic, addresses, tenants)
        scenario = Scenario(self._cluster, objects, watcher, traffic, self._timeline, self._seed)
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

    def _install(self) -> tuple[list[layout.Object], Addresses]:
        """The platform and the examples' resources, at addresses of this cluster's network."""
        if not self._options.traffic_only:
            with step("installing the CRDs and the operator"):
                platform.install(self._env, self._images)
        objects, addresses = placed(self._env, self._options.manifests, must_exist=self._options.traffic_only)
        say(f"  SIP {addresses.sip}, HTTPS {addresses.https}, media {' and '.join(addresses.media)};"
            f" carrier {addresses.carrier}")  # fmt: skip
        if not self._options.traffic_only:
            with step(f"applying {len(objects)} resources"):
                platform.apply(self._env, objects)
        return objects, addresses

    def _start(self, traffic: Traffic, addresses: Addresses, tenants: Sequence[TenantPlan]) -> None:
        """Agents by the API, phones on, calls up, writers writing."""
        secrets = {}
        with step("making agents and queues through the tenants' API"):
            for tenant in tenants:
                secrets[tenant.name] = self._provision(traffic, addresses, tenant)
        count = sum(map(len, secrets.values()))
        with step(f"registering {count} agents' phones at {addresses.sip}"):
            traffic.start_agents(
                addresses, agents_config(addresses, tenants, secrets, self._seed), REGISTRATION_SECONDS
            )
        with step("starting writers and calls"):
            for index, tenant in enumerate(tenants):
                key, ca = platform.api_key(self._env, tenant), platform.authority(self._env, tenant)
                config = writer_config(addresses, tenant, key, self.name, self._seed)
                traffic.start_writer(addresses.writer(index), tenant, config, ca)
            traffic.start_carrier(addresses, carrier_config(addresses, tenants, self._seed))
            traffic.wait_long_calls()

    def _api(
        self, traffic: Traffic, addresses: Addresses, tenant: TenantPlan, command: str, **more: Any
    ) -> tuple[int, str, Path]:
        """One API command of the load tool for a tenant: exit code, what it said, its folder."""
        config = {**api_config(addresses, tenant, platform.api_key(self._env, tenant)), **more}
        name = f"{command}-{tenant.name}"
        folder = traffic.prepare(name, config, platform.authority(self._env, tenant))
        code, output = self._containers.run(
            name, addresses.tool, folder, "okitoki_load", command, "--config", f"{WORK}/config.json", "--out", WORK
        )
        return code, output, folder

    def _provision(self, traffic: Traffic, addresses: Addresses, tenant: TenantPlan) -> dict[str, str]:
        """A tenant may be Ready a moment before the edge has its back ends, so this is tried until it works."""
        last = ""

        def done() -> bool:
            nonlocal last
            code, output, _ = self._api(
                traffic, addresses, tenant, "provision", queues={tenant.queue: list(tenant.agents)}
            )
            if code and output != last:
                say(f"    {tenant.host}: {output}")
            last = output
            return code == 0

        try:
            wait_until("the API", done, API_SECONDS, interval=2)
        except LocalClusterError as error:
            raise LocalClusterError(f"{error} of {tenant.host} at {addresses.https}: {last}") from error
        say(f"    {tenant.host}: {last}")
        secrets = self.folder / f"provision-{tenant.name}" / "secrets.json"
        found: dict[str, str] = json.loads(secrets.read_text(encoding="utf-8"))
        secrets.unlink()
        return found

    def _facts(
        self, traffic: Traffic, addresses: Addresses, tenants: Sequence[TenantPlan], planned: Sequence[str],
        outcomes: Sequence[verdict.FaultOutcome],
    ) -> verdict.Facts:  # fmt: skip
        """Read everything back: the phones' records, the ledgers, and what each tenant's API has stored."""
        calls = judge(read_lines([self.folder / name / "calls.jsonl" for name in ("carrier", "agents")]))
        found = {}
        for tenant in tenants:
            answered = [call.call_id for call in calls if call.established and call.tenant == tenant.name]
            with step(f"reading back what {tenant.name} has stored"):
                wanted = {"since": self._since, "call_ids": answered, "patience": RECORDS_SECONDS}
                code, output, folder = self._api(traffic, addresses, tenant, "records", **wanted)
                if code:
                    raise LocalClusterError(f"reading the records of {tenant.host} failed: {output}")
            records = json.loads((folder / "records.json").read_text(encoding="utf-8"))
            found[tenant.name] = verdict.TenantFacts(ledger.read([traffic.ledger(tenant)]), records)
        return verdict.Facts(
            run=self.name,
            begun=self.begun,
            ended=time.time(),
            planned_faults=planned,
            faults=outcomes,
            tenants=found,
            calls=calls,
            media_addresses=addresses.media,
            context={"seed": self._seed, "versions": platform.versions(self._env, self._images)},
        )

    def _conclude(self, facts: verdict.Facts) -> dict[str, Any]:
        found = verdict.report(facts)
        write_whole(self.folder / "calls.json", [call.as_json() for call in facts.calls])
        write_whole(self.folder / "report.json", found)
        write_whole(self.folder.parent / "report.json", found)
        print(table.render(found), flush=True)
        say(f"report: {self.folder.parent / 'report.json'}; details: {self.folder}")
        return found

    def forget_secrets(self) -> None:
        """Configurations hold keys and SIP secrets; results don't."""
        for pattern in ("*/config.json", "*/secrets.json"):
            for path in self.folder.glob(pattern):
                path.unlink()


def forget_old_runs(folder: Path, keep: int) -> None:
    """Ledgers and call records of the last runs are kept, older ones are not."""
    runs = sorted(path for path in folder.glob("demo-*") if path.is_dir())
    for old in runs[:-keep]:
        shutil.rmtree(old)
