"""What a run of traffic needs around it: the platform, agents, phones, writers, and afterwards what they all saw.

The demo and the drill are both such runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from okitoki_chaos import verdict
from okitoki_load import ledger
from okitoki_local.demo import layout, platform, waiting
from okitoki_local.demo.containers import WORK, Containers
from okitoki_local.demo.layout import Addresses, TenantPlan
from okitoki_local.demo.traffic import Traffic, agents_config, api_config, carrier_config, writer_config
from okitoki_local.environment import Environment
from okitoki_local.progress import say, step
from okitoki_local.system import LocalClusterError, wait_until
from okitoki_phones.judge import CallVerdict, judge
from okitoki_phones.records import read_lines

READY_SECONDS = 900.0
API_SECONDS = 120.0
REGISTRATION_SECONDS = 120.0
RECORDS_SECONDS = 90.0
REGIONS = "voiceregions.platform.oki-toki.net"


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


def forget_secrets(folder: Path) -> None:
    """Remove what a run's clients were given: configurations hold keys and SIP secrets, results don't."""
    for pattern in ("*/config.json", "*/secrets.json"):
        for path in folder.glob(pattern):
            path.unlink()


class Stage:
    """One run's surroundings; everything that it makes on the disk is in `folder`."""

    def __init__(
        self, env: Environment, containers: Containers, images: Mapping[str, str], folder: Path, name: str, seed: int,
        *, begun: float | None = None,
    ) -> None:  # fmt: skip
        """`begun` (epoch seconds): when it was begun, of a run whose folder is there already."""
        if begun is None:
            folder.mkdir(parents=True)
        self.name, self.folder, self.seed = name, folder, seed
        self.begun = time.time() if begun is None else begun
        self.env, self.containers, self.images = env, containers, images
        self._since = datetime.fromtimestamp(self.begun - 60, UTC).isoformat(timespec="seconds")

    def install(self, manifests: Path, *, as_it_is: bool) -> tuple[list[layout.Object], Addresses]:
        """The platform and the examples' resources, at addresses of this cluster's network."""
        if not as_it_is:
            with step("installing the CRDs and the operator"):
                platform.install(self.env, self.images)
        objects, addresses = placed(self.env, manifests, must_exist=as_it_is)
        say(f"  SIP {addresses.sip}, HTTPS {addresses.https}, media {' and '.join(addresses.media)};"
            f" carrier {addresses.carrier}")  # fmt: skip
        if not as_it_is:
            with step(f"applying {len(objects)} resources"):
                platform.apply(self.env, objects)
        return objects, addresses

    def wait_ready(self, objects: Sequence[layout.Object]) -> waiting.Watcher:
        """Until the region and the tenants are Ready; the watcher goes on telling when they are not."""
        kubectl = platform.KindCluster(self.env).kubectl
        watcher = waiting.Watcher(kubectl, [waiting.title(obj) for obj in objects])
        with step("waiting until the region and the tenants are Ready"):
            watcher.wait(READY_SECONDS)
        return watcher

    def start(self, addresses: Addresses, tenants: Sequence[TenantPlan], *, forwards: bool = False) -> Traffic:
        """Agents by the API, phones on, calls up, writers writing. `forwards`: the carrier has layer 2."""
        traffic = Traffic(self.containers, self.folder, tenants)
        secrets = {}
        with step("making agents and queues through the tenants' API"):
            for tenant in tenants:
                secrets[tenant.name] = self._provision(traffic, addresses, tenant)
        count = sum(map(len, secrets.values()))
        with step(f"registering {count} agents' phones at {addresses.sip}"):
            traffic.start_agents(addresses, agents_config(addresses, tenants, secrets, self.seed), REGISTRATION_SECONDS)
        with step("starting writers and calls"):
            for index, tenant in enumerate(tenants):
                key, ca = platform.api_key(self.env, tenant), platform.authority(self.env, tenant)
                config = writer_config(addresses, tenant, key, self.name, self.seed)
                traffic.start_writer(addresses.writer(index), tenant, config, ca)
            traffic.start_carrier(addresses, carrier_config(addresses, tenants, self.seed, forwards=forwards))
            traffic.wait_long_calls()
        return traffic

    def _api(
        self, traffic: Traffic, addresses: Addresses, tenant: TenantPlan, command: str, **more: Any
    ) -> tuple[int, str, Path]:
        """One API command of the load tool for a tenant: exit code, what it said, its folder."""
        config = {**api_config(addresses, tenant, platform.api_key(self.env, tenant)), **more}
        name = f"{command}-{tenant.name}"
        folder = traffic.prepare(name, config, platform.authority(self.env, tenant))
        code, output = self.containers.run(
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

    def read_back(
        self, traffic: Traffic, addresses: Addresses, tenants: Sequence[TenantPlan]
    ) -> tuple[dict[str, verdict.TenantFacts], list[CallVerdict]]:
        """The ledgers, what each tenant's API has stored, and the phones' records."""
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
        return found, calls
