"""The rights that the chart gives are enough for the operator's work, and not more than the API server allows."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from api.acme import delete, running
from api.apiserver import binary
from api.world import IMAGES, CountingClient, World, tenant

from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.authority import Authorities, load_authorities
from okitoki.kube.client import ApiError
from okitoki.kube.events import Recorder
from okitoki.kube.lease import Leadership
from okitoki.kube.resources import CUSTOM_RESOURCE_DEFINITION, Manifest
from okitoki.reconcile.authority import AuthorityKeeper
from okitoki.reconcile.index import Index
from okitoki.reconcile.kind import Context
from okitoki_local import versions

CHART = Path(__file__).resolve().parents[2] / "charts" / "okitoki"
NAMESPACE = "okitoki-rbac"
RBAC_KINDS = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"}


def _chart() -> list[Manifest]:
    values = [f"--values={path}" for path in sorted((CHART / "ci").glob("*.yaml"))[:1]]
    # Without a cluster to ask, helm takes its own old default.
    version = f"--kube-version={versions.KUBERNETES}"
    command = [binary("helm"), "template", "okitoki-operator", str(CHART), "--namespace", NAMESPACE, version, *values]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"helm template: {done.stderr}")
    return [item for item in yaml.safe_load_all(done.stdout) if item and item["kind"] in RBAC_KINDS]


def _path(item: Manifest) -> str:
    group = "/api/v1" if item["apiVersion"] == "v1" else f"/apis/{item['apiVersion']}"
    namespace = item["metadata"].get("namespace")
    plural = item["kind"].lower() + "s"
    where = f"/namespaces/{namespace}" if namespace and not item["kind"].startswith("Cluster") else ""
    return f"{group}{where}/{plural}/{item['metadata']['name']}"


@pytest.fixture
async def account(world: World) -> AsyncIterator[str]:
    """The chart's service account with its rights; the operator of the world acts as it."""
    await world.make_namespace(NAMESPACE)
    rendered = _chart()
    for item in rendered:
        await world.admin.request(
            "PATCH",
            _path(item),
            body=item,
            params={"fieldManager": "helm", "force": "true"},
            content_type="application/apply-patch+yaml",
        )
    accounts = [item["metadata"]["name"] for item in rendered if item["kind"] == "ServiceAccount"]
    assert len(accounts) == 1
    world.user = f"system:serviceaccount:{NAMESPACE}:{accounts[0]}"
    yield world.user
    for item in rendered:
        await world.admin.request("DELETE", _path(item))


async def test_a_tenants_whole_life(world: World, account: str) -> None:
    await world.admin.create(tenant("acme", numbers=[{"number": "+380441234567", "queue": "sales"}]))
    await world.reconcile("acme", times=2)
    assert (await world.conditions("acme"))["Applied"]["status"] == "True"
    await world.make_pods("acme")
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": {"regions": ["lviv"]}})
    await world.reconcile("acme", times=2)
    await world.admin.delete(kinds.TENANT, "acme")
    await world.reconcile("acme")
    await world.empty_namespace("tenant-acme")
    await world.finish_namespace("tenant-acme")
    await world.reconcile("acme")
    assert await world.admin.get(kinds.TENANT, "acme") is None


async def test_a_pause_a_retained_deletion_and_an_adoption(world: World, account: str) -> None:
    uid = await running(world)
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": {"state": "Paused"}})
    for _ in range(5):
        await world.reconcile("acme")
        await world.end_pods("acme")
    assert (await world.conditions("acme"))["Ready"]["reason"] == "Paused"
    await delete(world)
    await world.admin.create(tenant("acme", database={"adopt": uid}))
    await world.reconcile("acme", times=2)
    assert (await world.conditions("acme"))["Applied"]["status"] == "True"
    assert (await world.conditions("acme"))["NamespaceOwned"]["reason"] == "Owned"


async def test_lease_authority_events_and_crds(world: World, account: str) -> None:
    async with CountingClient(world.connection, account) as client:
        leadership = Leadership(client, NAMESPACE, names.LEASE_NAME, "one")
        assert await leadership.try_acquire()
        assert await leadership.try_renew()
        await leadership.release()
        known = Authorities(await load_authorities(client, NAMESPACE, datetime.now(UTC) - timedelta(days=1)))
        annotations = {labels.RENEW_CERTIFICATE: datetime.now(UTC).isoformat()}
        await world.admin.merge_patch(
            kinds.SECRET, names.CA_SECRET, {"metadata": {"annotations": annotations}}, namespace=NAMESPACE
        )
        ctx = Context(client, Index(), IMAGES, NAMESPACE, known, Recorder(client))
        count = len(client.writes)
        await AuthorityKeeper(ctx, lambda: None).look()
        assert len(client.writes) == count + 2, "the step and its event"
        assert known.latest.next is not None
        made = await world.admin.create(tenant("acme"))
        before = len(client.writes)
        await Recorder(client).record(made, "Normal", "Test", "a test")
        assert len(client.writes) == before + 1
        for kind in (kinds.TENANT, kinds.VOICE_REGION):
            assert await client.get(CUSTOM_RESOURCE_DEFINITION, f"{kind.plural}.{kind.group}")


async def test_what_the_operator_need_not_do_it_may_not(world: World, account: str) -> None:
    async with CountingClient(world.connection, account) as client:
        with pytest.raises(ApiError, match="forbidden"):
            await client.create(tenant("acme"))
        with pytest.raises(ApiError, match="forbidden"):
            await client.delete(CUSTOM_RESOURCE_DEFINITION, "tenants.platform.oki-toki.net")
        greedy: Manifest = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "greedy", "namespace": NAMESPACE},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
        }
        with pytest.raises(ApiError, match="attempting to grant RBAC permissions not currently held"):
            await client.create(greedy)
