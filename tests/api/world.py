"""A small world around the reconcile of a Tenant on a real API server: a region, a fake app, a counting client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import kopf

from okitoki.controller import Controller
from okitoki.database.agent_api import AgentApi, AgentError
from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.authority import Authorities, AuthoritySet
from okitoki.kube.client import Client
from okitoki.kube.drift import Repairs
from okitoki.kube.events import EventType, Recorder
from okitoki.kube.pki import Authority, new_authority
from okitoki.kube.resources import Manifest
from okitoki.reconcile.index import Index
from okitoki.reconcile.kind import Context, Images
from okitoki.reconcile.loop import Reconciler
from okitoki.tenant.app_api import AppUnavailable
from okitoki.tenant.kind import TenantKind
from okitoki.voiceregion.kind import VoiceRegionKind

IMAGES = Images(app="app:1", postgres="postgres:1", edge="edge:1")
REGION = "kyiv"


class Crash(Exception):
    """The operator dies here."""


class CountingClient(Client):
    """Counts reads and writes; dies after `crash_after` writes."""

    def __init__(self, connection: kopf.ConnectionInfo, user: str = "") -> None:
        super().__init__(connection)
        self._user = user
        self.reads: list[str] = []
        self.writes: list[str] = []
        self.crash_after: int | None = None

    async def request(self, method: str, path: str, **rest: Any) -> Manifest:
        if method == "GET":
            self.reads.append(path)
        return await super().request(method, path, **rest)

    async def write(self, method: str, path: str, **rest: Any) -> Manifest:
        answer = await super().write(method, path, **rest)
        self.writes.append(f"{method} {path}")
        if self.crash_after is not None and len(self.writes) >= self.crash_after:
            raise Crash(path)
        return answer

    def _headers(self) -> dict[str, str]:
        return {**super()._headers(), **({"Impersonate-User": self._user} if self._user else {})}


class FakeApp:
    """The apps of all tenants: keeps profiles; `broken` says what it answers instead."""

    def __init__(self) -> None:
        self.profiles: dict[str, Mapping[str, Any]] = {}
        self.broken = ""

    async def read(self, namespace: str, token: str) -> Mapping[str, Any] | None:
        if self.broken:
            raise AppUnavailable(self.broken)
        return self.profiles.get(namespace)

    async def write(self, namespace: str, token: str, profile: Mapping[str, Any]) -> None:
        if self.broken:
            raise AppUnavailable(self.broken)
        self.profiles[namespace] = dict(profile)


class FakeAgent(AgentApi):
    """The agents of all tenants: counts the addresses that were asked to hand over; `broken` is their refusal."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.named: list[str | None] = []
        """Whom to, for each."""
        self.broken = ""

    async def handover(self, address: str, password: str, to: str | None = None) -> str:
        self.asked.append(address)
        self.named.append(to)
        if self.broken:
            raise AgentError(self.broken)
        return f"{to or 'postgres-1'} has taken over"


async def wait_until(state: Callable[[], Awaitable[bool]], seconds: float = 100) -> None:
    """Wait for a state; `TimeoutError` when it does not come."""
    async with asyncio.timeout(seconds):
        while True:
            if await state():
                return
            await asyncio.sleep(0.05)


def tenant(name: str, **spec: Any) -> Manifest:
    """A Tenant's manifest."""
    return {
        "apiVersion": kinds.TENANT.api_version,
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {"displayName": name.title(), "regions": [REGION], **spec},
    }


def region(name: str = REGION, **spec: Any) -> Manifest:
    """A VoiceRegion's manifest."""
    return {
        "apiVersion": kinds.VOICE_REGION.api_version,
        "kind": "VoiceRegion",
        "metadata": {"name": name},
        "spec": {
            "domain": f"{name}.okitoki.test",
            "nodeSelector": {"topology.kubernetes.io/region": name},
            "addresses": {
                "sip": "198.18.16.200",
                "https": "198.18.16.203",
                "media": ["198.18.16.201", "198.18.16.202"],
            },
            "media": {"portRange": {"from": 30000, "to": 30999}},
            "carriers": [{"name": "main", "hosts": ["198.18.16.150"]}],
            **spec,
        },
    }


class World:
    """See the module."""

    def __init__(self, connection: kopf.ConnectionInfo, admin: Client) -> None:
        self.connection = connection
        self.admin = admin
        self.app = FakeApp()
        self.agent = FakeAgent()
        self.user = ""
        """Whom the operator acts as; empty: the administrator."""
        self.authorities = Authorities(AuthoritySet(Authority(new_authority(datetime.now(UTC)))))
        self.clock = 0.0
        """Seconds, by which what is contested waits."""
        self.told: list[tuple[str, str]] = []
        """Events: reason and message."""
        self.shown: dict[str, str] = {}
        """Which certificate the pods of an address show; what is not named refuses connections."""

    async def set_up(self) -> None:
        """The region with its namespace and a node."""
        made = await self.admin.create(region())
        await self.admin.create(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": names.region_namespace(REGION),
                    "labels": {labels.OWNER_UID: made["metadata"]["uid"]},
                },
            }
        )

    async def tear_down(self) -> None:
        """Remove everything that tests make; there is no namespace controller, so namespaces are finished by hand."""
        for kind in (kinds.TENANT, kinds.VOICE_REGION):
            for item in await self.admin.list(kind):
                await self.admin.merge_patch(kind, item["metadata"]["name"], {"metadata": {"finalizers": None}})
                await self.admin.delete(kind, item["metadata"]["name"])
        for item in await self.admin.list(kinds.NODE):
            await self.admin.delete(kinds.NODE, item["metadata"]["name"])
        for item in await self.admin.list(kinds.NAMESPACE):
            name = item["metadata"]["name"]
            if name.startswith(("tenant-", "okitoki-region-")):
                await self.empty_namespace(name)
                await self.admin.delete(kinds.NAMESPACE, name)
                await self.finish_namespace(name)

    async def make_namespace(self, name: str) -> None:
        """One that stays when the test ends; an earlier test may have made it."""
        if not await self.admin.get(kinds.NAMESPACE, name):
            await self.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    async def empty_namespace(self, name: str) -> None:
        """What the namespace controller would remove."""
        for kind in (*TenantKind.watched, kinds.PERSISTENT_VOLUME_CLAIM):
            if kind.namespaced:
                for item in await self.admin.list(kind, name):
                    if kind is kinds.PERSISTENT_VOLUME_CLAIM:
                        # The controller of this finalizer (pvc-protection) does not run here.
                        patch = {"metadata": {"finalizers": None}}
                        await self.admin.merge_patch(kind, item["metadata"]["name"], patch, namespace=name)
                    # There is no kubelet that would end a pod.
                    grace = 0 if kind is kinds.POD else None
                    await self.admin.delete(kind, item["metadata"]["name"], name, grace_seconds=grace)

    async def finish_namespace(self, name: str) -> None:
        """What the namespace controller does in the end."""
        found = await self.admin.get(kinds.NAMESPACE, name)
        if found:
            found["spec"]["finalizers"] = []
            await self.admin.request("PUT", kinds.NAMESPACE.path(name=name, subresource="finalize"), body=found)

            async def gone() -> bool:
                return await self.admin.get(kinds.NAMESPACE, name) is None

            await wait_until(gone)

    @asynccontextmanager
    async def operator(self, kind: str = "Tenant") -> Any:
        """A fresh operator process: (reconcile of that kind by name, its counting client)."""
        async with CountingClient(self.connection, self.user) as client:
            ctx = self._context(client)
            await ctx.index.load(client)
            reconciler = Reconciler(
                self._tenants() if kind == "Tenant" else VoiceRegionKind(), ctx, Repairs(lambda: self.clock)
            )
            yield reconciler.reconcile, client

    @asynccontextmanager
    async def controller(self) -> Any:
        """One that works by itself, but for what Kopf tells of Tenants: (the controller, its counting client)."""
        async with CountingClient(self.connection, self.user) as client:
            found = Controller(self._context(client), [self._tenants()])
            running = asyncio.create_task(found.run())
            try:
                yield found, client
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    def _context(self, client: CountingClient) -> Context:
        return Context(client, Index(), IMAGES, "okitoki-system", self.authorities, _Silent(client, self.told))

    def _tenants(self) -> TenantKind:
        return TenantKind(lambda _: self.app, agent_api=self.agent, handshake=self._handshake)

    async def _handshake(self, address: str, port: int) -> str | None:
        return self.shown.get(address)

    async def reconcile(self, name: str, times: int = 1, kind: str = "Tenant") -> list[str]:
        """Reconcile with a fresh operator; the writes of the last pass."""
        async with self.operator(kind) as (reconcile, client):
            for _ in range(times):
                client.writes.clear()
                await reconcile(name)
            return client.writes

    async def conditions(self, name: str) -> dict[str, dict[str, Any]]:
        """Conditions of a tenant by type."""
        found = await self.admin.get(kinds.TENANT, name) or {}
        return {c["type"]: c for c in found.get("status", {}).get("conditions", [])}

    async def make_pods(self, name: str, *, members: int = 3, primary: str = "postgres-0", app: int = 2) -> None:
        """Pods as the controllers and Patroni would leave them in a tenant that is well."""
        namespace = names.tenant_namespace(name)
        for index in range(members):
            pod = f"postgres-{index}"
            leads = pod == primary
            status = '{"state":"running"}' if leads else '{"state":"running","replication_state":"streaming"}'
            await self._pod(namespace, pod, name, names.POSTGRES, {"role": "primary" if leads else "replica"}, status)
        for index in range(app):
            await self._pod(namespace, f"app-{index}", name, names.APP, {}, "{}")
        await self.patroni_store(name, "sync", {"leader": primary, "sync_standby": "postgres-1,postgres-2"})
        deployment = await self.admin.get(kinds.DEPLOYMENT, names.APP, namespace) or {}
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": app,
            "updatedReplicas": app,
            "readyReplicas": app,
        }
        await self.admin.merge_patch(
            kinds.DEPLOYMENT, names.APP, {"status": status}, namespace=namespace, subresource="status"
        )

    async def dying(
        self, name: str, kind: str = "Tenant", between: Callable[[], Awaitable[object]] | None = None
    ) -> int:
        """Reconcile with operators that each die right after one write, until two in a row have nothing to write; how
        many died. `between`: what controllers do meanwhile."""
        deaths = quiet = 0
        while quiet < 2:
            assert deaths < 200, "it never ends"
            async with self.operator(kind) as (reconcile, client):
                client.crash_after = 1
                try:
                    await reconcile(name)
                    quiet += 1
                except Crash:
                    deaths, quiet = deaths + 1, 0
            if between is not None:
                await between()
        return deaths

    async def make_claims(self, name: str, members: int = 3, size: str = "1Gi") -> None:
        """Volume claims as the StatefulSet's controller makes them; they outlive it."""
        for index in range(members):
            await self.admin.create(
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {
                        "name": f"data-postgres-{index}",
                        "namespace": names.tenant_namespace(name),
                        "labels": labels.owned(names.POSTGRES, tenant=name),
                    },
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
                }
            )

    async def end_pods(self, name: str) -> None:
        """What controllers and kubelets do with workloads that were scaled to nothing."""
        namespace = names.tenant_namespace(name)
        for kind, component in ((kinds.DEPLOYMENT, names.APP), (kinds.STATEFUL_SET, names.POSTGRES)):
            workload = await self.admin.get(kind, component, namespace)
            if workload is None or workload["spec"].get("replicas") != 0:
                continue
            for pod in await self.admin.list(kinds.POD, namespace, labels.selector(component, tenant=name)):
                await self.admin.delete(kinds.POD, pod["metadata"]["name"], namespace, grace_seconds=0)
            status = {"observedGeneration": workload["metadata"]["generation"], "replicas": 0}
            status |= {"updatedReplicas": 0, "readyReplicas": 0}
            await self.admin.merge_patch(kind, component, {"status": status}, namespace=namespace, subresource="status")

    async def patroni_store(self, name: str, suffix: str, annotations: Mapping[str, str]) -> None:
        """One of Patroni's ConfigMaps, with the labels that Patroni gives it; it may be there already."""
        if await self.admin.get(kinds.CONFIG_MAP, f"postgres-{suffix}", names.tenant_namespace(name)):
            return
        await self.admin.request(
            "POST",
            kinds.CONFIG_MAP.path(names.tenant_namespace(name)),
            body={
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": f"postgres-{suffix}",
                    "labels": {**labels.selector(names.POSTGRES, tenant=name), "cluster-name": "postgres"},
                    "annotations": dict(annotations),
                },
            },
        )

    async def _pod(
        self, namespace: str, pod: str, tenant_name: str, component: str, extra: Mapping[str, str], patroni: str
    ) -> None:
        security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
        container = {
            "name": component,
            "image": "x",
            "securityContext": {**security, "seccompProfile": {"type": "RuntimeDefault"}},
        }
        await self.admin.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": pod,
                    "namespace": namespace,
                    "labels": {**labels.owned(component, tenant=tenant_name), **extra},
                    "annotations": {"status": patroni},
                },
                "spec": {"containers": [container]},
            }
        )
        ready = {"phase": "Running", "podIP": "198.19.0.9", "conditions": [{"type": "Ready", "status": "True"}]}
        await self.admin.merge_patch(kinds.POD, pod, {"status": ready}, namespace=namespace, subresource="status")


class _Silent(Recorder):
    """Events are counted apart: they are not part of what a reconcile must not write."""

    def __init__(self, client: CountingClient, told: list[tuple[str, str]]) -> None:
        super().__init__(client)
        self._told = told

    async def record(self, resource: Mapping[str, Any], kind: EventType, reason: str, message: str) -> None:
        self._told.append((reason, message))
