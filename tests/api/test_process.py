"""The operator's own process against a real API server: lease, watching, what a stop and a kill leave."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import pytest
from api.apiserver import kubeconfig
from api.world import World, tenant, wait_until
from support.postgres import free_port

from okitoki.kube import labels, names
from okitoki.kube import resources as kinds

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "okitoki-system"
PATIENCE = 60.0
pytestmark = pytest.mark.timeout(300)


class Process:
    """One replica."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, metrics_port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.metrics_port = metrics_port
        self._log = log

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    async def health(self) -> str:
        """Body of /healthz, empty while nobody answers."""
        return (await self._get(f"http://127.0.0.1:{self.port}/healthz")).strip()

    async def metrics(self) -> list[str]:
        """Lines of /metrics."""
        return (await self._get(f"http://127.0.0.1:{self.metrics_port}/metrics")).splitlines()

    async def _get(self, url: str) -> str:
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return await answer.text()
        except aiohttp.ClientError:
            return ""

    async def end(self, number: int) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), PATIENCE)


@pytest.fixture
async def start(world: World, connection: kopf.ConnectionInfo, tmp_path: Path) -> AsyncIterator[Callable[[str], Any]]:
    """Starts replicas by name; kills what is left of them afterwards."""
    config = kubeconfig(connection, tmp_path / "kubeconfig")
    await world.make_namespace(NAMESPACE)
    started: list[Process] = []

    async def run(name: str) -> Process:
        port, metrics_port, log = free_port(), free_port(), tmp_path / f"{name}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(config),
            "POD_NAMESPACE": NAMESPACE,
            "POD_NAME": name,
            "OKITOKI_HEALTH_PORT": str(port),
            "OKITOKI_METRICS_PORT": str(metrics_port),
            **{f"OKITOKI_IMAGE_{image}": "x:1" for image in ("APP", "POSTGRES", "EDGE")},
        }
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "okitoki", env=environment, stderr=output, stdout=output
            )
        started.append(Process(process, port, metrics_port, log))
        return started[-1]

    yield run
    for one in started:
        if one.process.returncode is None:
            one.process.kill()
            await one.process.wait()
    await world.admin.delete(kinds.LEASE, names.LEASE_NAME, NAMESPACE)


async def _holder(world: World) -> str:
    lease = await world.admin.get(kinds.LEASE, names.LEASE_NAME, NAMESPACE)
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


@asynccontextmanager
async def _explained(*replicas: Process) -> AsyncIterator[None]:
    """A failure shows what the replicas logged."""
    try:
        yield
    except BaseException as error:
        for replica in replicas:
            error.add_note(replica.log()[-4000:])
        raise


async def _said(replica: Process, word: str) -> None:
    async def state() -> bool:
        return await replica.health() == word

    await wait_until(state, PATIENCE)


async def _exists(world: World, kind: kinds.ResourceType, name: str, namespace: str | None = None) -> None:
    async def state() -> bool:
        return await world.admin.get(kind, name, namespace) is not None

    await wait_until(state, PATIENCE)


@asynccontextmanager
async def _leader_and_waiting(start: Callable[[str], Any]) -> AsyncIterator[tuple[Process, Process]]:
    """Two replicas: the first leads, the second stands by."""
    one = await start("one")
    async with _explained(one):
        await _said(one, "leading")
        two = await start("two")
    async with _explained(one, two):
        await _said(two, "standing by")
        yield one, two


async def test_one_leads_the_other_takes_over_at_once_after_a_graceful_stop(
    world: World, start: Callable[[str], Any]
) -> None:
    async with _leader_and_waiting(start) as (one, two):
        await world.admin.create(tenant("acme"))
        await _exists(world, kinds.STATEFUL_SET, "postgres", "tenant-acme")
        assert await one.end(signal.SIGTERM) == 0
        assert "lease released" in one.log()
        await _said(two, "leading")
        assert (await _holder(world)).startswith("two_")


async def test_events_of_owned_objects_repair_drift_and_kopf_leaves_no_trace(
    world: World, start: Callable[[str], Any]
) -> None:
    one = await start("one")
    async with _explained(one):
        await world.admin.create(tenant("acme"))
        await _exists(world, kinds.DEPLOYMENT, "app", "tenant-acme")
        await world.admin.delete(kinds.NETWORK_POLICY, "default-deny", "tenant-acme")

        async def repaired() -> bool:
            return await world.admin.get(kinds.NETWORK_POLICY, "default-deny", "tenant-acme") is not None

        await wait_until(repaired, PATIENCE)
        found = await world.admin.get(kinds.TENANT, "acme")
        assert found is not None
        assert found["metadata"]["finalizers"] == [labels.FINALIZER]
        assert "kopf" not in str(found["metadata"])
        deployment = await world.admin.get(kinds.DEPLOYMENT, "app", "tenant-acme")
        assert "kopf" not in str(deployment)
        assert await one.end(signal.SIGTERM) == 0


async def test_metrics_of_the_leader_and_of_the_one_that_waits_and_of_a_tenant_that_goes(
    world: World, start: Callable[[str], Any]
) -> None:
    async with _leader_and_waiting(start) as (one, two):
        await world.admin.create(tenant("acme"))

        async def shown() -> bool:
            return 'okitoki_tenant_ready{tenant="acme"} 0.0' in await one.metrics()

        await wait_until(shown, PATIENCE)
        assert 'leader_election_master_status{name="okitoki-operator"} 1.0' in await one.metrics()
        waiting = await two.metrics()
        assert 'leader_election_master_status{name="okitoki-operator"} 0.0' in waiting
        assert not [line for line in waiting if line.startswith("okitoki_tenant")]
        await world.admin.delete(kinds.TENANT, "acme")
        await world.admin.merge_patch(kinds.TENANT, "acme", {"metadata": {"finalizers": None}})

        async def forgotten() -> bool:
            lines = await one.metrics()
            return bool(lines) and not [line for line in lines if "acme" in line]

        await wait_until(forgotten, PATIENCE)


async def test_a_killed_leader_is_replaced_when_its_lease_has_run_out(
    world: World, start: Callable[[str], Any]
) -> None:
    async with _leader_and_waiting(start) as (one, two):
        await one.end(signal.SIGKILL)
        await _said(two, "leading")
        assert (await _holder(world)).startswith("two_")


async def test_a_leader_whose_lease_was_taken_ends(world: World, start: Callable[[str], Any]) -> None:
    one = await start("one")
    async with _explained(one):
        await _said(one, "leading")
        patch = {"spec": {"holderIdentity": "somebody-else"}}
        await world.admin.merge_patch(kinds.LEASE, names.LEASE_NAME, patch, namespace=NAMESPACE)
        assert await asyncio.wait_for(one.process.wait(), PATIENCE) == 1
        assert "another process holds it" in one.log()
        assert await _holder(world) == "somebody-else"


async def test_a_missing_setting_ends_it_with_one_line(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "okitoki",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "operator")},
        stderr=asyncio.subprocess.PIPE,
    )
    _, output = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 2
    assert output.decode().startswith("okitoki: OKITOKI_IMAGE_APP is not set")
    assert len(output.decode().splitlines()) == 1
