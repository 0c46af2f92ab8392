"""One measurement: an operator with a number of Tenants, phase by phase."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.world import tenant

from bench import audit, measure, subject, world
from bench.objects import REGION, objects_of_a_tenant, tenant_spec
from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.resources import condition_is_true

CREATORS = 16
"""Tenants are created this many at a time."""
REST_SECONDS = 60.0
QUIET_SECONDS = 10.0
CHANGES = 20
SEED = 1


@dataclass(frozen=True)
class Programs:
    """What was built at the start."""

    peer: Path
    simulator: Path


async def measured(name: str, size: int, folder: Path, programs: Programs, say: Any = print) -> dict[str, Any]:
    """The figures of one operator with `size` Tenants on an API server of its own."""
    async with world.world(folder, programs.simulator) as found:
        one = _subject(name, found, programs)
        running = await subject.Running.start(one, found.operator_config, folder / "operator.log")
        try:
            await running.during(running.leading())
            await running.during(_prepared(name, found))
            figures = await running.during(_first_life(found, running, size, say))
            await running.stop()
            say(f"{name}, {size}: starts again")
            running = await subject.Running.start(one, found.operator_config, folder / "operator.log")
            figures |= await running.during(_second_life(found, running, size))
        finally:
            await running.stop()
    return {"subject": name, "tenants": size, **figures}


def _subject(name: str, found: world.World, programs: Programs) -> subject.Subject:
    if name == subject.OKITOKI:
        return subject.okitoki(found.apps_port)
    objects = found.folder / "objects.json"
    objects.write_text(json.dumps(objects_of_a_tenant(world.authority_of(found.folder), datetime.now(UTC))))
    return subject.peer(programs.peer, objects)


async def _prepared(name: str, found: world.World) -> None:
    if name == subject.OKITOKI:
        await found.stand_in_for_the_edge()
    else:
        await world.make_region_namespace(found.admin)


async def _first_life(found: world.World, running: subject.Running, size: int, say: Any) -> dict[str, Any]:
    servers = measure.ProcessUse(measure.children(("etcd", "kube-apiserver")))
    found.audit.since_last()
    cpu, servers_cpu = running.use.cpu(), servers.cpu()
    before, _ = measure.reconciles(await running.metrics())
    seconds = await _converge(found, size, say)
    reconciles = await running.settled(QUIET_SECONDS) - before
    calls = found.audit.since_last()
    figures: dict[str, Any] = {
        "converge": {
            "seconds": seconds,
            "tenantsPerSecond": size / seconds,
            "reconciles": reconciles,
            "reconcilesPerSecond": reconciles / seconds,
            "operatorCpuSeconds": running.use.cpu() - cpu,
            "apiServerCpuSeconds": servers.cpu() - servers_cpu,
        },
        "callsPerTenant": {verb: count / size for verb, count in audit.by_verb(calls).items()},
        "writesPerTenant": audit.writes(calls) / size,
        "ownedObjects": await _owned(found),
    }
    say(f"{size} Tenants in {seconds:.0f} s; at rest for {REST_SECONDS:.0f} s")
    figures["rest"] = await _rest(found, running)
    figures["change"] = {"milliseconds": await _changes(found, size)}
    figures["memory"] = {"peakMiB": running.use.memory("VmHWM"), "restMiB": figures["rest"].pop("residentMiB")}
    return figures


async def _second_life(found: world.World, running: subject.Running, size: int) -> dict[str, Any]:
    # What was written before, for the changes, is none of the start's.
    found.audit.since_last()
    # A look at the metrics costs the operator something; with many Tenants it is looked at less often.
    every = max(0.25, size / 1000)
    seconds = await running.reconciled(size, every)
    await running.settled(QUIET_SECONDS)
    return {
        "start": {
            "seconds": seconds,
            "resolutionSeconds": every,
            "cpuSeconds": running.use.cpu(),
            "peakMiB": running.use.memory("VmHWM"),
            "restMiB": running.use.memory("VmRSS"),
            "writes": audit.writes(found.audit.since_last()),
        }
    }


async def _converge(found: world.World, size: int, say: Any) -> float:
    """Create the Tenants and wait until all are Ready; seconds from the first creation."""
    waiting = {_name(number) for number in range(size)}
    begin = time.monotonic()
    creating = asyncio.create_task(_create(found, size))
    told = begin
    async with aclosing(found.watch(kinds.TENANT)) as tenants:
        async for item in tenants:
            if condition_is_true(item, "Ready"):
                waiting.discard(item["metadata"]["name"])
            now = time.monotonic()
            if not waiting:
                break
            if now - told > 30:
                told = now
                say(f"{size - len(waiting)} of {size} Tenants are ready after {now - begin:.0f} s")
            if creating.done():
                creating.result()
    return now - begin


async def _create(found: world.World, size: int) -> None:
    numbers = iter(range(size))

    async def creator() -> None:
        for number in numbers:
            await found.admin.create(tenant(_name(number), **tenant_spec(number)))

    async with asyncio.TaskGroup() as group:
        for _ in range(CREATORS):
            group.create_task(creator())


async def _owned(found: world.World) -> int:
    """Objects that the operator made for one Tenant: both must make the same."""
    namespace = names.tenant_namespace(_name(0))
    count = 1
    for kind in (
        kinds.SERVICE_ACCOUNT, kinds.ROLE, kinds.ROLE_BINDING, kinds.SECRET, kinds.CONFIG_MAP, kinds.SERVICE,
        kinds.NETWORK_POLICY, kinds.POD_DISRUPTION_BUDGET, kinds.STATEFUL_SET, kinds.DEPLOYMENT,
    ):  # fmt: skip
        count += len(await found.admin.list(kind, namespace, {labels.MANAGED_BY: labels.MANAGER}))
    edge = await found.admin.get(kinds.SECRET, names.edge_tenant_secret(_name(0)), names.region_namespace(REGION))
    return count + (edge is not None)


async def _rest(found: world.World, running: subject.Running) -> dict[str, Any]:
    found.audit.since_last()
    cpu = running.use.cpu()
    await asyncio.sleep(REST_SECONDS)
    calls = found.audit.since_last()
    return {
        "seconds": REST_SECONDS,
        "writes": audit.writes(calls),
        "reads": sum(calls.values()) - audit.writes(calls),
        "cpuSeconds": running.use.cpu() - cpu,
        "residentMiB": running.use.memory("VmRSS"),
    }


async def _changes(found: world.World, size: int) -> list[float]:
    """Milliseconds from the acceptance of a changed `spec.app.replicas` to the changed Deployment, one by one."""
    chosen = random.Random(SEED)
    results = []
    for _ in range(CHANGES):
        name = _name(chosen.randrange(size))
        namespace = names.tenant_namespace(name)
        deployment = await found.admin.get(kinds.DEPLOYMENT, names.APP, namespace) or {}
        wanted = 5 - deployment["spec"]["replicas"]
        seen: asyncio.Task[float] = asyncio.create_task(_seen(found, namespace, wanted))
        await asyncio.sleep(0.5)
        begin = time.monotonic()
        await found.admin.merge_patch(kinds.TENANT, name, {"spec": {"app": {"replicas": wanted}}})
        results.append(round((await asyncio.wait_for(seen, 600) - begin) * 1000, 1))
        await asyncio.sleep(1.0)
    return results


async def _seen(found: world.World, namespace: str, replicas: int) -> float:
    async with aclosing(found.watch(kinds.DEPLOYMENT, namespace)) as deployments:
        async for item in deployments:
            if item["spec"]["replicas"] == replicas:
                break
    return time.monotonic()


def _name(number: int) -> str:
    return f"bench-{number:05d}"
