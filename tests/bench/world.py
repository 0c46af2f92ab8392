"""The simulated cluster: an API server of its own for each measurement, CRDs, a region, nodes, and the simulator."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import kopf
from api.apiserver import api_server, as_user, kubeconfig
from api.world import region, wait_until
from support.postgres import free_port

from bench import audit
from bench.objects import OPERATOR_NAMESPACE, REGION
from bench.subject import PATIENCE
from okitoki.api.crds import all_crds
from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.authority import authority_secret
from okitoki.kube.client import Client
from okitoki.kube.pki import Authority, KeyPair, new_authority
from okitoki.kube.resources import Manifest, ResourceType

SIMULATOR = "simulator"
PLATFORM = "platform"
"""Folder of the platform's CA; the API server's own certificates are beside it."""


class World:
    """What a measurement needs of its cluster."""

    def __init__(self, folder: Path, connection: kopf.ConnectionInfo, admin: Client, apps_port: int) -> None:
        self.folder = folder
        self.admin = admin
        self.apps_port = apps_port
        self.operator_config = kubeconfig(as_user(connection, folder, audit.OPERATOR), folder / "operator.kubeconfig")
        self.audit = audit.AuditLog(folder / "audit.log")
        self._connection = connection

    async def watch(self, kind: ResourceType, namespace: str | None = None) -> AsyncGenerator[Manifest, None]:
        """Objects as they change, beginning with those that are there."""
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._connection.as_ssl_context()),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=self._connection.as_http_headers(),
            read_bufsize=2**22,
        )
        url = f"{self._connection.server}{kind.path(namespace)}"
        async with session:
            # The API server ends every watch some time.
            while True:
                async with session.get(url, params={"watch": "1"}) as answer:
                    answer.raise_for_status()
                    async for line in answer.content:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise RuntimeError(f"watch of {kind.plural}: {event['object'].get('message')}")
                        yield event["object"]

    async def stand_in_for_the_edge(self) -> None:
        """Two pods of the region's edge whose agents say that all is well."""
        namespace = names.region_namespace(REGION)

        async def made() -> bool:
            return await self.admin.get(kinds.STATEFUL_SET, "edge", namespace) is not None

        await wait_until(made, PATIENCE)
        status = {"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "updateRevision": "edge-1"}
        await self.admin.merge_patch(
            kinds.STATEFUL_SET, "edge", {"status": status}, namespace=namespace, subresource="status"
        )
        for index, holds in enumerate((["sip", "media-1"], ["https", "media-2"])):
            await self.admin.create(_edge_pod(index, holds))
            ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            await self.admin.merge_patch(
                kinds.POD, f"edge-{index}", {"status": ready}, namespace=namespace, subresource="status"
            )


@asynccontextmanager
async def world(folder: Path, simulator: Path) -> AsyncIterator[World]:
    """A fresh API server with everything but Tenants; the simulator follows what becomes of them."""
    options = _options(folder)
    with api_server(folder, users=(audit.OPERATOR, SIMULATOR), options=options) as connection:
        async with Client(connection) as admin:
            found = World(folder, connection, admin, free_port())
            await _set_up(found, folder)
            config = kubeconfig(as_user(connection, folder, SIMULATOR), folder / "simulator.kubeconfig")
            with (folder / "simulator.log").open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    str(simulator), "--kubeconfig", str(config), "--authority", str(folder / PLATFORM),
                    "--listen", f"127.0.0.1:{found.apps_port}", stdout=output, stderr=output,
                    env={"PATH": os.environ["PATH"], "HOME": str(folder)},
                )  # fmt: skip
            try:
                yield found
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()


def _options(folder: Path) -> list[str]:
    """The folder, with the audit policy in it, and kube-apiserver's options for it."""
    folder.mkdir(parents=True)
    policy = folder / "policy.json"
    policy.write_text(json.dumps(audit.POLICY))
    return [
        "--audit-policy-file", str(policy), "--audit-log-path", str(folder / "audit.log"),
        "--audit-log-maxsize", "100000", "--event-ttl", "10m",
    ]  # fmt: skip


async def _set_up(found: World, folder: Path) -> None:
    admin = found.admin
    for item in all_crds().values():
        await admin.apply(item)
    for item in all_crds().values():
        await _until_established(admin, item["metadata"]["name"])
    await admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}})
    pair = new_authority(datetime.now(UTC))
    # The platform's CA as an administrator may bring it: the simulated apps have certificates of the same.
    values = {"tls.crt": pair.certificate, "tls.key": pair.key}
    await admin.create(authority_secret(values, OPERATOR_NAMESPACE, own=False))
    platform = folder / PLATFORM
    platform.mkdir(mode=0o700)
    (platform / "tls.crt").write_text(pair.certificate)
    (platform / "tls.key").write_text(pair.key)
    for index in range(2):
        await _node(admin, index)
    await admin.create(region(REGION))


async def make_region_namespace(admin: Client) -> None:
    """What the operator makes itself; the peer knows nothing of regions."""
    found = await admin.get(kinds.VOICE_REGION, REGION) or {}
    owned = {**labels.owned(region=REGION), labels.OWNER_UID: found["metadata"]["uid"]}
    metadata = {"name": names.region_namespace(REGION), "labels": owned}
    await admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def authority_of(folder: Path) -> Authority:
    """The platform's CA of a world."""
    platform = folder / PLATFORM
    return Authority(KeyPair((platform / "tls.crt").read_text(), (platform / "tls.key").read_text()))


async def _until_established(admin: Client, name: str) -> None:
    async def established() -> bool:
        found = await admin.get(kinds.CUSTOM_RESOURCE_DEFINITION, name)
        return kinds.condition_is_true(found or {}, "Established")

    await wait_until(established, PATIENCE)


async def _node(admin: Client, index: int) -> None:
    metadata = {"name": f"node-{index}", "labels": {"topology.kubernetes.io/region": REGION}}
    await admin.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    status = {
        "addresses": [{"type": "InternalIP", "address": f"198.18.1.{index + 2}"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    await admin.merge_patch(kinds.NODE, f"node-{index}", {"status": status}, subresource="status")


def _edge_pod(index: int, holds: list[str]) -> dict[str, Any]:
    report = {"holds": holds, "since": {}, "peerAnswers": True, "protected": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"edge-{index}",
            "namespace": names.region_namespace(REGION),
            "labels": {**labels.owned("edge", region=REGION), "controller-revision-hash": "edge-1"},
            "annotations": {labels.EDGE_STATUS: json.dumps(report)},
        },
        "spec": {"containers": [{"name": "edge", "image": "edge:1"}], "nodeName": f"node-{index}"},
    }
