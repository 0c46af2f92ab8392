"""One session of a drill: load up, experiments in the drill container, load down, everything read back and judged."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from okitoki_chaos import progress
from okitoki_chaos.guard import ALLOWED, CONSENT
from okitoki_chaos.judge import before_interruption
from okitoki_chaos.load import read_lines
from okitoki_chaos.plan import Item
from okitoki_chaos.session import SETTINGS, Settings
from okitoki_local.demo import layout, platform
from okitoki_local.demo.containers import WORK, Containers
from okitoki_local.demo.layout import Addresses, TenantPlan
from okitoki_local.demo.stage import Stage, placed
from okitoki_local.demo.traffic import Traffic
from okitoki_local.drill.box import Box
from okitoki_local.environment import Environment
from okitoki_local.progress import step
from okitoki_local.system import LocalClusterError
from okitoki_phones.records import write_whole


class Session(Stage):
    """Its folder has the raw histories: ledgers, calls, timeline, journal, results."""

    @classmethod
    def again(cls, env: Environment, containers: Containers, images: Mapping[str, str], folder: Path) -> Session | None:
        """A session that was interrupted, by its folder; None when it had not come so far as to be described."""
        if not (folder / SETTINGS).exists():
            return None
        known = Settings.read(folder)
        return cls(env, containers, images, folder, known.run, known.seed, begun=known.begun)

    def salvage(self, manifests: Path) -> bool:
        """End the clients of an interrupted session and judge what it concluded; False when they are gone, or do not
        end in order: then nobody knows what they saw."""
        objects, addresses = placed(self.env, manifests, must_exist=True)
        tenants = layout.tenants_of(objects)
        traffic = Traffic(self.containers, self.folder, tenants)
        if not all(self.containers.running(name) for name in traffic.names):
            return False
        with step(f"ending the traffic of {self.name}, which was interrupted"):
            if traffic.end():
                return False
        self._judge(traffic, addresses, tenants, [])
        return True

    def go(self, box: Box, items: Sequence[Item], *, manifests: Path, as_it_is: bool, hours: float | None) -> bool:
        """Run and judge the items; whether the platform was well at the end."""
        objects, addresses = self.install(manifests, as_it_is=as_it_is)
        consent(self.env, objects)
        tenants = layout.tenants_of(objects)
        self.wait_ready(objects)
        traffic = self.start(addresses, tenants, forwards=True)
        self.describe(objects, tenants, traffic, items)
        well, troubles = self._drill(box, hours)
        with step("ending the traffic: hanging up, then phones and writers off"):
            troubles += traffic.end()
        self._judge(traffic, addresses, tenants, troubles)
        return well

    def describe(
        self, objects: Sequence[Mapping[str, Any]], tenants: Sequence[TenantPlan], traffic: Traffic | None,
        items: Sequence[Item],
    ) -> None:  # fmt: skip
        """What the drill container reads."""
        ledgers = {one.name: str(traffic.ledger(one).relative_to(self.folder)) for one in tenants} if traffic else {}
        Settings(
            run=self.name,
            seed=self.seed,
            tenants=[tenant.name for tenant in tenants],
            regions=[layout.region_of(list(map(dict, objects)))["metadata"]["name"]],
            ledgers=ledgers,
            events="carrier/events.jsonl" if traffic else None,
            cluster=self.env.name,
            begun=self.begun,
        ).write(self.folder)
        write_whole(self.folder / "items.json", [item.as_json() for item in items])

    def _drill(self, box: Box, hours: float | None) -> tuple[bool, list[str]]:
        limit = ("--hours", str(hours)) if hours is not None else ()
        box.start_watchdog(self.folder)
        try:
            code = box.run(self.folder, "drill", WORK, *limit)
        finally:
            undone = box.stop_watchdog()
        troubles = [f"the watchdog had to act: {line}" for line in undone]
        if code not in {0, 1}:
            troubles.append(f"the drill ended with code {code}")
        return code == 0, troubles

    def _judge(
        self, traffic: Traffic, addresses: Addresses, tenants: Sequence[TenantPlan], troubles: Sequence[str]
    ) -> None:
        found, calls = self.read_back(traffic, addresses, tenants)
        calls = before_interruption(calls, read_lines(self.folder / "timeline.jsonl"))
        write_whole(self.folder / "calls.json", [call.as_json() for call in calls])
        progress.judge_session(
            self.folder, found, ended=time.time(), troubles=troubles, calls=calls, media_addresses=addresses.media
        )


def consent(env: Environment, objects: Sequence[Mapping[str, Any]]) -> None:
    """The local cluster's region, tenants and operators may be hurt; elsewhere a person says so by the same label."""
    label = f"{CONSENT}={ALLOWED}"
    for obj in objects:
        kind = "tenants" if obj["kind"] == "Tenant" else "voiceregions"
        env.kubectl("label", "--overwrite", f"{kind}.platform.oki-toki.net", obj["metadata"]["name"], label)
    env.kubectl("label", "--overwrite", "namespace", platform.SYSTEM_NAMESPACE, label)


def require_images(images: Mapping[str, str]) -> None:
    if "drill" not in images:
        raise LocalClusterError("there is no image `drill`: build all images (`make images`)")
