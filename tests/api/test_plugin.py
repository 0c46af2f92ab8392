"""`kubectl okitoki` with the real kubectl, a real API server and the operator's reconcile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import kopf
import pytest
from api.acme import NAMESPACE, running
from api.apiserver import binary, kubeconfig
from api.test_tenant import ready
from api.world import REGION, Crash, World, tenant

from okitoki.kube import labels, names
from okitoki.kube import resources as kinds

PLUGIN = Path(__file__).resolve().parents[2] / "plugin" / "kubectl-okitoki"
COMMAND_SECONDS = 240
"""A command that waits longer waits for what nobody does."""


async def start(connection: kopf.ConnectionInfo, folder: Path, *words: str) -> asyncio.subprocess.Process:
    """The command, with the kubectl that belongs to the API server in PATH."""
    config = kubeconfig(connection, folder / "kubeconfig")
    path = f"{Path(binary('kubectl')).parent}:{os.environ['PATH']}"
    command = [sys.executable, str(PLUGIN), "--kubeconfig", str(config), *words]
    return await asyncio.create_subprocess_exec(
        *command, env={"PATH": path, "HOME": str(folder)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_status_shows_what_the_operator_wrote(
    world: World, connection: kopf.ConnectionInfo, tmp_path: Path
) -> None:
    await ready(world)
    process = await start(connection, tmp_path, "status", "-o", "json")
    output, error = await process.communicate()
    assert (process.returncode, error) == (0, b"")
    [row] = json.loads(output)["tenants"]
    assert (row["name"], row["ready"], row["primary"], row["members"]) == ("acme", "True", "postgres-0", "3/3")


async def lead(world: World, pod: str, *others: str) -> None:
    """What Patroni does to the members' labels and its own word when another one leads."""
    for name in (pod, *others):
        state = '{"state":"running"}' if name == pod else '{"state":"running","replication_state":"streaming"}'
        metadata = {"labels": {"role": "primary" if name == pod else "replica"}, "annotations": {"status": state}}
        await world.admin.merge_patch(kinds.POD, name, {"metadata": metadata}, namespace=NAMESPACE)


async def until_done(
    process: asyncio.subprocess.Process, meanwhile: Callable[[], Awaitable[None]]
) -> tuple[int | None, str, str]:
    """Play the rest of the platform until the command ends: its exit code, output and errors."""
    ended = asyncio.create_task(process.communicate())
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            while not ended.done():
                await meanwhile()
                await asyncio.sleep(0.1)
    except TimeoutError:
        process.kill()
        output, error = await ended
        pytest.fail(f"the command does not end: {output.decode()} {error.decode()}")
    output, error = await ended
    return process.returncode, output.decode(), error.decode()


@pytest.mark.parametrize("command", [["promote", "acme", "postgres-2"], ["promote", "acme"], ["switchover", "acme"]])
async def test_another_primary_is_asked_for_made_and_answered(
    world: World, connection: kopf.ConnectionInfo, tmp_path: Path, command: list[str]
) -> None:
    await ready(world)
    named = (command[2:] or [None])[0]

    async def meanwhile() -> None:
        found = await world.admin.get(kinds.TENANT, "acme") or {}
        if labels.SWITCHOVER in (found["metadata"].get("annotations") or {}):
            await world.reconcile("acme")
            await lead(world, named or "postgres-1", "postgres-0")
            await world.reconcile("acme")

    code, output, error = await until_done(await start(connection, tmp_path, *command, "-o", "json"), meanwhile)
    assert code == 0, error
    [row] = json.loads(output)
    away = f"to {named}" if named else "away"
    assert row == {
        "tenant": "acme", "from": "postgres-0", "to": named or "postgres-1",
        "result": f"postgres-0 has given its role {away}",
    }  # fmt: skip
    assert (len(world.agent.asked), world.agent.named) == (1, [named])


async def test_a_member_that_may_lack_writes_is_refused_and_the_mend_named(
    world: World, connection: kopf.ConnectionInfo, tmp_path: Path
) -> None:
    await ready(world)
    await world.admin.merge_patch(
        kinds.CONFIG_MAP, "postgres-sync", {"metadata": {"annotations": {"sync_standby": "postgres-1"}}},
        namespace=NAMESPACE,
    )  # fmt: skip

    async def meanwhile() -> None:
        await world.reconcile("acme")

    code, output, error = await until_done(
        await start(connection, tmp_path, "promote", "acme", "postgres-2"), meanwhile
    )
    assert (code, output) == (1, "")
    assert "postgres-2 is no synchronous standby, it may lack the latest writes: name postgres-1" in error
    assert world.agent.asked == []


@pytest.mark.timeout(400)
async def test_a_tenant_is_put_to_sleep_and_woken_and_its_way_is_told(
    world: World, connection: kopf.ConnectionInfo, tmp_path: Path
) -> None:
    await running(world)
    await world.reconcile("acme", times=2)

    async def sleeping() -> None:
        await world.reconcile("acme")
        # Pods take longer to end than the command takes to look again.
        if time.monotonic() - began > 4:
            await world.end_pods("acme")

    began = time.monotonic()

    code, output, error = await until_done(
        await start(connection, tmp_path, "hibernate", "acme", "--wait", "-o", "json"), sleeping
    )
    assert code == 0, error
    assert [(row["state"], row["ready"]) for row in json.loads(output)] == [("Paused", "True")]
    assert "Stopping" in error
    woken = False

    async def waking() -> None:
        nonlocal woken
        found = await world.admin.get(kinds.TENANT, "acme") or {}
        await world.reconcile("acme")  # after the look: the pods are those that it has asked for
        if found["spec"]["state"] == "Active" and not woken:
            await world.make_pods("acme")
            woken = True

    code, output, error = await until_done(await start(connection, tmp_path, "wake", "acme", "--wait"), waking)
    assert code == 0, error
    assert output.splitlines()[1].split()[:4] == ["acme", "Active", "True", "3/3"]


async def test_a_suspended_tenant_is_not_served_again_by_way_of_a_nap(
    world: World, connection: kopf.ConnectionInfo, tmp_path: Path
) -> None:
    await world.admin.create(tenant("acme", state="Suspended"))
    for command in ("hibernate", "wake"):
        process = await start(connection, tmp_path, command, "acme")
        _, error = await process.communicate()
        assert process.returncode == 1
        assert b"acme is Suspended, neither Active nor Paused" in error
    found = await world.admin.get(kinds.TENANT, "acme") or {}
    assert found["spec"]["state"] == "Suspended"


class Edge:
    """The pods of the region's edge and their agents, which do what they are told."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.holder = "edge-0"

    async def make(self) -> None:
        for number in (0, 1):
            node = {"metadata": {"name": f"worker{number}", "labels": {"topology.kubernetes.io/region": REGION}}}
            await self._world.admin.create({"apiVersion": "v1", "kind": "Node", **node})
        await self._world.reconcile(REGION, times=2, kind="VoiceRegion")
        for number in (0, 1):
            await self._world.admin.create(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": f"edge-{number}",
                        "namespace": names.region_namespace(REGION),
                        "labels": labels.owned("edge", region=REGION),
                    },
                    "spec": {"nodeName": f"worker{number}", "containers": [{"name": "guard", "image": "x"}]},
                }
            )
            ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            await self._patch(f"edge-{number}", {"status": ready}, "status")

    async def _patch(self, pod: str, patch: Any, subresource: str | None = None) -> None:
        namespace = names.region_namespace(REGION)
        await self._world.admin.merge_patch(kinds.POD, pod, patch, namespace=namespace, subresource=subresource or "")

    async def step(self) -> None:
        """One look of both agents, then of the operator."""
        found = {}
        for pod in ("edge-0", "edge-1"):
            item = await self._world.admin.get(kinds.POD, pod, names.region_namespace(REGION))
            assert item is not None
            found[pod] = labels.DRAIN in (item["metadata"].get("annotations") or {})
        if found[self.holder]:
            self.holder = "edge-1" if self.holder == "edge-0" else "edge-0"
        for pod, drained in found.items():
            said = {
                "holds": ["sip", "https", "media-1", "media-2"] if pod == self.holder else [],
                "drained": drained, "protected": not drained, "peerAnswers": True,
                "unprotectedBecause": ["this node is drained"] if drained else [],
            }  # fmt: skip
            await self._patch(pod, {"metadata": {"annotations": {labels.EDGE_STATUS: json.dumps(said)}}})
        await self._world.reconcile(REGION, kind="VoiceRegion")


async def test_a_node_of_the_edge_is_freed_for_service_and_let_serve_again(
    world: World, connection: kopf.ConnectionInfo, tmp_path: Path
) -> None:
    edge = Edge(world)
    await edge.make()
    await edge.step()
    process = await start(connection, tmp_path, "drain-edge", REGION, "--node", "worker0", "-o", "json")
    code, output, error = await until_done(process, edge.step)
    assert code == 0, error
    assert {(row["from"], row["to"], row["node"]) for row in json.loads(output)} == {("edge-0", "edge-1", "worker1")}
    found = await world.admin.get(kinds.VOICE_REGION, REGION) or {}
    assert found["status"]["drain"]["state"] == "Drained"
    redundant = next(item for item in found["status"]["conditions"] if item["type"] == "EdgeRedundant")
    assert redundant["reason"] == "Drained"
    assert [write for write in await world.reconcile(REGION, kind="VoiceRegion") if "pods" in write] == []
    refused = await start(connection, tmp_path, "drain-edge", REGION, "--node", "worker1")
    assert b"worker0 of kyiv is drained, and one node must serve" in (await refused.communicate())[1]
    code, output, error = await until_done(await start(connection, tmp_path, "drain-edge", REGION, "--undo"), edge.step)
    assert code == 0, error
    assert edge.holder == "edge-1", "nothing moves back by itself"
    pod = await world.admin.get(kinds.POD, "edge-0", names.region_namespace(REGION)) or {}
    assert labels.DRAIN not in pod["metadata"]["annotations"]


async def test_the_operator_may_die_after_any_write_of_a_drain(world: World) -> None:
    edge = Edge(world)
    await edge.make()
    await edge.step()
    for node, holder in (("worker0", "edge-1"), (None, "edge-1"), ("worker1", "edge-0")):
        await world.admin.merge_patch(
            kinds.VOICE_REGION, REGION, {"metadata": {"annotations": {labels.DRAINED_NODE: node}}}
        )
        for _ in range(8):
            async with world.operator("VoiceRegion") as (reconcile, client):
                client.crash_after = 1
                with contextlib.suppress(Crash):
                    await reconcile(REGION)
        for _ in range(3):
            await edge.step()
        assert edge.holder == holder
        found = await world.admin.get(kinds.VOICE_REGION, REGION) or {}
        assert (found["status"].get("drain") or {}).get("state") == ("Drained" if node else None)


async def test_a_request_that_waits_already_is_left_alone(
    world: World, connection: kopf.ConnectionInfo, tmp_path: Path
) -> None:
    made = tenant("acme")
    made["metadata"]["annotations"] = {labels.SWITCHOVER: "another's"}
    await world.admin.create(made)
    process = await start(connection, tmp_path, "switchover", "acme")
    _, error = await process.communicate()
    assert process.returncode == 1
    assert b"already has a value" in error
    found = await world.admin.get(kinds.TENANT, "acme") or {}
    assert found["metadata"]["annotations"] == {labels.SWITCHOVER: "another's"}
