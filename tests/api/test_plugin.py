"""`kubectl okitoki` with the real kubectl, a real API server and the operator's reconcile."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import kopf
from api.apiserver import binary, kubeconfig
from api.test_tenant import ready
from api.world import World, tenant

from okitoki.kube import labels
from okitoki.kube import resources as kinds

PLUGIN = Path(__file__).resolve().parents[2] / "plugin" / "kubectl-okitoki"


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


async def test_a_switchover_is_asked_for_made_and_answered(
    world: World, connection: kopf.ConnectionInfo, tmp_path: Path
) -> None:
    await ready(world)
    process = await start(connection, tmp_path, "switchover", "acme")
    while process.returncode is None and not world.agent.asked:
        found = await world.admin.get(kinds.TENANT, "acme") or {}
        if labels.SWITCHOVER in (found["metadata"].get("annotations") or {}):
            await world.reconcile("acme")
        await asyncio.sleep(0.1)
    output, error = await process.communicate()
    assert (process.returncode, error) == (0, b"")
    assert output == b"acme: postgres-0 has given its role away\n"
    assert len(world.agent.asked) == 1


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
