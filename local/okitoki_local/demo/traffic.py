"""The demo's traffic: agents' phones, a carrier, writers; started, watched, ended."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from okitoki_chaos import load
from okitoki_local.demo.containers import WORK, Containers
from okitoki_local.demo.layout import Addresses, TenantPlan
from okitoki_local.progress import say
from okitoki_local.system import LocalClusterError, wait_until
from okitoki_phones.records import read_lines

LONG_CALLS = 3
SHORT_EVERY_SECONDS = 4.0
SHORT_TALK_SECONDS = [3.0, 7.0]
WRITES_PER_SECOND = 10.0
ORIGINATOR = "+380501112233"
# Where the carrier forwards what the platform does not take, and how long an address may say nothing before that:
# longer than a takeover and the INVITE's retransmissions (after 0.5, 1.5, 3.5 s), shorter than a caller's patience.
FORWARD_TO = "+380447000000"
UNREACHABLE_SECONDS = 5.0

Config = dict[str, Any]


def api_config(addresses: Addresses, tenant: TenantPlan, key: str) -> Config:
    """How a client reaches a tenant's API."""
    return {"address": addresses.https, "host": tenant.host, "ca": f"{WORK}/ca.crt", "key": key}


def writer_config(addresses: Addresses, tenant: TenantPlan, key: str, run: str, seed: int) -> Config:
    return {
        **api_config(addresses, tenant, key),
        "run": run,
        "writer": f"{tenant.name}-1",
        "number": tenant.number,
        "per_second": WRITES_PER_SECOND,
        "seed": seed,
    }


def agents_config(
    addresses: Addresses, tenants: Sequence[TenantPlan], secrets: Mapping[str, Mapping[str, str]], seed: int
) -> Config:
    return {
        "host": addresses.agents,
        "server": {"host": addresses.sip, "port": 5060},
        "seed": seed,
        "agents": [
            {"username": agent, "domain": tenant.host, "secret": secrets[tenant.name][agent], "tenant": tenant.name}
            for tenant in tenants
            for agent in tenant.agents
        ],
    }


def carrier_config(addresses: Addresses, tenants: Sequence[TenantPlan], seed: int, *, forwards: bool = False) -> Config:
    """The carrier has the tenants' landlines; with `forwards` also the forwarding that is layer 2."""
    landlines = sorted({FORWARD_TO, *(number for tenant in tenants for number in tenant.landlines)})
    layer2 = {"forwardTo": FORWARD_TO, "unreachableSeconds": UNREACHABLE_SECONDS} if forwards else {}
    return {
        "landlines": landlines,
        **layer2,
        "address": {"host": addresses.carrier, "port": 5060},
        "server": {"host": addresses.sip, "port": 5060},
        "caller": ORIGINATOR,
        "seed": seed,
        "long": [{"number": tenant.number, "tenant": tenant.name, "count": LONG_CALLS} for tenant in tenants],
        "short": [
            {
                "number": tenant.number,
                "tenant": tenant.name,
                "everySeconds": SHORT_EVERY_SECONDS,
                "talkSeconds": SHORT_TALK_SECONDS,
            }
            for tenant in tenants
        ],
    }


class Traffic:
    """Everything that calls and writes. `folder` is the run's; each container has a folder of its own in it."""

    def __init__(self, containers: Containers, folder: Path, tenants: Sequence[TenantPlan]) -> None:
        self._containers = containers
        self._folder = folder
        self._tenants = tenants
        self._writers = [f"writer-{tenant.name}" for tenant in tenants]

    @property
    def names(self) -> list[str]:
        return ["agents", "carrier", *self._writers]

    def prepare(self, name: str, config: Config, ca: str | None = None) -> Path:
        """A container's folder with its configuration; the file has secrets, so only its owner reads it."""
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1), encoding="utf-8")
        if ca is not None:
            (folder / "ca.crt").write_text(ca, encoding="utf-8")
        return folder

    def start_agents(self, addresses: Addresses, config: Config, limit: float) -> None:
        """Phones on, and registered."""
        folder = self.prepare("agents", config)
        self._containers.start(
            "agents", addresses.agents, folder, "okitoki_phones", "agents", *_files()
        )  # fmt: skip
        try:
            self._containers.wait_file("agents", folder / "ready", limit)
        except LocalClusterError as error:
            raise LocalClusterError(f"{error}\n{registration_failures(folder)}") from error

    def start_carrier(self, addresses: Addresses, config: Config) -> None:
        folder = self.prepare("carrier", config)
        self._containers.start("carrier", addresses.carrier, folder, "okitoki_phones", "carrier", *_files())
        self._containers.wait_file("carrier", folder / "ready", 30)

    def start_writer(self, address: str, tenant: TenantPlan, config: Config, ca: str) -> None:
        name = f"writer-{tenant.name}"
        folder = self.prepare(name, config, ca)
        self._containers.start(name, address, folder, "okitoki_load", "write", *_files())
        self._containers.wait_file(name, folder / "ledger.jsonl", 30)

    def events(self) -> list[dict[str, Any]]:
        path = self._folder / "carrier" / "events.jsonl"
        return read_lines([path]) if path.exists() else []

    def acknowledged(self) -> dict[str, int]:
        """Writes acknowledged so far, by tenant."""
        return {tenant.name: load.count_ok(self.ledger(tenant)) for tenant in self._tenants}

    def stalled(self, limit: float = 2.0) -> list[str]:
        """Tenants whose writers have had no success for a while: servers may be ready and yet not serve."""
        return load.stalled({tenant.name: self.ledger(tenant) for tenant in self._tenants}, time.time(), limit)

    def ledger(self, tenant: TenantPlan) -> Path:
        return self._folder / f"writer-{tenant.name}" / "ledger.jsonl"

    def wait_long_calls(self, limit: float = 60) -> None:
        """Wait until every long call is up."""
        wanted = LONG_CALLS * len(self._tenants)

        def up() -> bool:
            events = self.events()
            failed = [one for one in events if one["kind"] == "long" and one["event"] == "failed"]
            if failed:
                raise LocalClusterError(f"a call could not be set up before any fault: code {failed[0]['code']}")
            up_now = [one for one in events if one["kind"] == "long" and one["event"] == "established"]
            return len(up_now) == wanted

        wait_until(f"{wanted} long calls", up, limit)

    def wait_flow(self, why: str, writes: int, calls: int, limit: float = 180) -> None:
        """Wait until so many more writes were acknowledged, in each tenant, and so many more calls set up."""
        writes_before, calls_before = self.acknowledged(), self.calls_by_tenant()

        def flowed() -> bool:
            self._containers.require_running(*self.names)
            now, set_up = self.acknowledged(), self.calls_by_tenant()
            return all(now[name] - before >= writes for name, before in writes_before.items()) and all(
                set_up[tenant.name] - calls_before[tenant.name] >= calls for tenant in self._tenants
            )

        try:
            wait_until(f"writes and calls to flow {why}", flowed, limit, interval=0.5)
        except LocalClusterError as error:
            raise LocalClusterError(f"{error}; by tenant: {self.acknowledged()} writes; {self.summary()}") from error
        say(f"    {self.summary()}")

    def calls_by_tenant(self) -> Counter[str]:
        return Counter(one["tenant"] for one in self.events() if one["event"] == "established")

    def summary(self) -> str:
        """One line of where things stand."""
        count = Counter(one["event"] for one in self.events())
        talking = count["established"] - count["ended"]
        return (
            f"{sum(self.acknowledged().values())} writes acknowledged; calls: {count['established']} set up,"
            f" {talking} talking now, {count['failed']} failed"
        )

    def end(self) -> list[str]:
        """End gracefully: the carrier hangs up, the phones go, then the writers. Returns what went wrong with it."""
        troubles = []
        for name in ("carrier", "agents", *self._writers):
            try:
                self._containers.stop(name)
            except LocalClusterError as error:
                troubles.append(str(error))
        return troubles


def _files() -> tuple[str, ...]:
    return ("--config", f"{WORK}/config.json", "--out", WORK)


def registration_failures(folder: Path) -> str:
    """Why agents are not registered: the last word on each."""
    path = folder / "registrations.jsonl"
    last = {one["agent"]: one for one in read_lines([path])} if path.exists() else {}
    bad = [f"{agent}: {one['why']}" for agent, one in last.items() if not one["registered"]]
    return "\n".join(bad) or "no agent got any answer"
