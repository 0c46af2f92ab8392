"""Authorities and certificates against a real API server: rotation, renewal, what is told, operators that die."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api.world import REGION, CountingClient, Crash, World, tenant
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.authority import AuthoritySet, authority_secret, authority_set, load_authorities
from okitoki.kube.client import ApiError
from okitoki.kube.events import Recorder
from okitoki.kube.pki import certificate_id, certificate_ids, decode, encode, new_authority
from okitoki.kube.resources import Manifest
from okitoki.metrics.domain import Series
from okitoki.reconcile.authority import AuthorityKeeper
from okitoki.reconcile.index import Index
from okitoki.reconcile.kind import Context, Images

SYSTEM = "okitoki-system"
EDGE_NAMESPACE = names.region_namespace(REGION)
POD_ADDRESS = "198.19.0.9"


@pytest.fixture
async def platform(world: World) -> AsyncIterator[InForce]:
    """A region with its edge and tenant acme with its app, all in order, under an authority of yesterday."""
    await world.make_namespace(SYSTEM)
    await world.admin.delete(kinds.SECRET, names.CA_SECRET, SYSTEM)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    world.authorities.latest = await load_authorities(world.admin, SYSTEM, yesterday)
    await world.admin.create(tenant("acme"))
    await world.reconcile(REGION, times=2, kind="VoiceRegion")
    await world.reconcile("acme")
    for name in ("edge-0", "edge-1"):
        await edge_pod(world, name)
    await world.make_pods("acme")
    running = InForce(world)
    await running.everything()
    await reconcile(world)
    running.check()
    yield running
    await world.admin.delete(kinds.SECRET, names.CA_SECRET, SYSTEM)
    for item in await world.admin.list(kinds.EVENT, SYSTEM):
        await world.admin.delete(kinds.EVENT, item["metadata"]["name"], SYSTEM)


async def edge_pod(world: World, name: str) -> None:
    await world.admin.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": EDGE_NAMESPACE,
                "labels": labels.owned("edge", region=REGION),
                "annotations": {labels.EDGE_STATUS: "{}"},
            },
            "spec": {"nodeName": f"node-of-{name}", "containers": [{"name": "agent", "image": "x"}]},
        }
    )


async def value(world: World, kind: kinds.ResourceType, name: str, namespace: str, key: str) -> str:
    found = await world.admin.get(kind, name, namespace)
    assert found is not None
    return str(found["data"][key]) if kind is kinds.CONFIG_MAP else decode(found["data"][key])


class InForce:
    """What runs: the edge pods' HAProxy, the app's pods. They take up what they were given when the test says so."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.bundles = {"edge-0": "", "edge-1": ""}
        self.app = ""

    async def edge(self, name: str) -> None:
        """The agent of an edge pod has seen Secret and ConfigMap; HAProxy is reloaded, and that is reported."""
        chain = await value(self.world, kinds.SECRET, "edge-tls", EDGE_NAMESPACE, "tls.crt")
        bundle = await value(self.world, kinds.CONFIG_MAP, names.CA_CONFIG_MAP, EDGE_NAMESPACE, "ca.crt")
        self.bundles[name] = bundle
        report = {"certificate": first_id(chain), "authorities": sorted(certificate_ids(bundle))}
        patch = {"metadata": {"annotations": {labels.EDGE_STATUS: json.dumps(report)}}}
        await self.world.admin.merge_patch(kinds.POD, name, patch, namespace=EDGE_NAMESPACE)

    async def apps(self) -> None:
        """The kubelet has brought the Secret, the app has read it."""
        self.app = await value(self.world, kinds.SECRET, names.APP_TLS, "tenant-acme", "tls.crt")
        self.world.shown[POD_ADDRESS] = first_id(self.app)

    async def everything(self) -> None:
        for name in self.bundles:
            await self.edge(name)
        await self.apps()

    def check(self) -> None:
        """Every edge accepts what the app shows."""
        leaf = x509.load_pem_x509_certificate(self.app.encode())
        for name, bundle in self.bundles.items():
            assert any(issued_by(one, leaf) for one in x509.load_pem_x509_certificates(bundle.encode())), name


def issued_by(authority: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, InvalidSignature):
        return False
    return True


def first_id(chain: str) -> str:
    """The server's own certificate in a chain."""
    return certificate_id(x509.load_pem_x509_certificate(chain.encode()))


async def reconcile(world: World) -> None:
    await world.reconcile(REGION, kind="VoiceRegion")
    await world.reconcile("acme")


@asynccontextmanager
async def leader(world: World, events: bool = True) -> AsyncIterator[tuple[AuthorityKeeper, CountingClient, Series]]:
    """A fresh operator's keeper of the authorities."""
    async with CountingClient(world.connection) as client:
        world.authorities.latest = await load_authorities(client, SYSTEM, datetime.now(UTC))
        series = Series()
        ctx = Context(
            client, Index(), Images("a", "p", "e"), SYSTEM, world.authorities,
            Recorder(client) if events else _Nobody(client), series,
        )  # fmt: skip
        yield AuthorityKeeper(ctx, lambda: None), client, series


class _Nobody(Recorder):
    async def record(self, *arguments: Any) -> None:
        return


async def look(world: World) -> AuthoritySet:
    """One look of a fresh leader; the authorities after it."""
    async with leader(world) as (keeper, _, _):
        await keeper.look()
    return await authorities(world)


async def authorities(world: World) -> AuthoritySet:
    found = await world.admin.get(kinds.SECRET, names.CA_SECRET, SYSTEM)
    assert found is not None
    return authority_set(found)


async def ask(world: World, kind: kinds.ResourceType, name: str, namespace: str | None = None) -> None:
    annotations = {labels.RENEW_CERTIFICATE: datetime.now(UTC).isoformat()}
    await world.admin.merge_patch(kind, name, {"metadata": {"annotations": annotations}}, namespace=namespace)


async def condition(world: World, kind: kinds.ResourceType, name: str) -> dict[str, Any]:
    found = await world.admin.get(kind, name)
    assert found is not None
    return next(c for c in found["status"]["conditions"] if c["type"] == "CertificateCurrent")


async def events(world: World) -> list[str]:
    found = await world.admin.list(kinds.EVENT, SYSTEM)
    return [item["reason"] for item in found if item["involvedObject"]["name"] == names.CA_SECRET]


async def test_at_rest_everything_is_current_and_nothing_is_written(platform: InForce) -> None:
    world = platform.world
    for kind, name in ((kinds.TENANT, "acme"), (kinds.VOICE_REGION, REGION)):
        assert (await condition(world, kind, name))["reason"] == "Current"
        assert await world.reconcile(name, kind=kind.kind) == []
    async with leader(world) as (keeper, client, series):
        known = world.authorities.latest
        await keeper.look()
        assert client.writes == []
        assert world.authorities.latest is known, "what it has read of certificates is kept"
        page = series_of(series)
        assert page["okitoki_authority_rotating"] == 0
        assert page["okitoki_certificate_expiry_seconds"] == world.authorities.latest.current.expires.timestamp()


async def test_a_rotation_step_by_step(platform: InForce) -> None:
    world = platform.world
    old, template = await authorities(world), await app_template(world)
    await ask(world, kinds.SECRET, names.CA_SECRET, SYSTEM)
    begun = await look(world)
    assert begun.next is not None
    assert begun.current.id == old.current.id
    await reconcile(world)
    assert (await condition(world, kinds.VOICE_REGION, REGION))["reason"] == "Trusting"
    await platform.edge("edge-0")
    await reconcile(world)
    assert (await look(world)).next is not None, "edge-1 does not trust it yet"
    await platform.edge("edge-1")
    await reconcile(world)
    promoted = await look(world)
    assert promoted.current.id == begun.next.id
    assert promoted.previous.strip() == old.current.certificate.strip()
    assert "next.key" not in promoted.data
    assert old.current.pair.key not in promoted.data.values()
    await reconcile(world)
    platform.check()
    assert (await condition(world, kinds.TENANT, "acme"))["reason"] == "Reloading"
    for name in platform.bundles:
        await platform.edge(name)
    await reconcile(world)
    assert (await look(world)).previous, "the app shows a certificate of the old authority"
    platform.check()
    await platform.apps()
    await reconcile(world)
    platform.check()
    done = await look(world)
    assert (done.previous, done.next, done.current.id) == ("", None, begun.next.id)
    await reconcile(world)
    await platform.everything()
    await reconcile(world)
    platform.check()
    assert certificate_ids(platform.bundles["edge-0"]) == {begun.next.id}
    assert (await condition(world, kinds.TENANT, "acme"))["reason"] == "Current"
    assert await app_template(world) == template, "no pod of the app is replaced for a certificate"
    assert sorted(await events(world)) == ["AuthorityPromoted", "AuthorityRetired", "AuthorityRotationBegun"]
    assert (await look(world)).version == done.version


async def test_the_operator_may_die_after_any_write_of_a_rotation(platform: InForce) -> None:
    world = platform.world
    old = await authorities(world)
    await ask(world, kinds.SECRET, names.CA_SECRET, SYSTEM)
    deaths, order = 0, list(platform.bundles)
    for turn in range(60):
        async with leader(world, events=False) as (keeper, client, _):
            client.crash_after = 1
            deaths += await dies(keeper.look())
        for kind, name in (("VoiceRegion", REGION), ("Tenant", "acme")):
            async with world.operator(kind) as (reconcile_one, client):
                client.crash_after = 1
                deaths += await dies(reconcile_one(name))
            platform.check()
        # Each takes up what it was given at another time.
        await (platform.edge(order[turn % 2]) if turn % 3 else platform.apps())
        platform.check()
        found = await authorities(world)
        if found.current.id != old.current.id and not found.previous:
            break
    assert found.current.id != old.current.id
    assert (found.previous, found.next) == ("", None)
    assert deaths > 8


async def test_a_write_by_somebody_else_between_look_and_step_is_not_overwritten(platform: InForce) -> None:
    world = platform.world
    await ask(world, kinds.SECRET, names.CA_SECRET, SYSTEM)
    async with leader(world) as (keeper, client, _):
        read = client.get

        async def late(*arguments: Any, **named: Any) -> Manifest | None:
            found = await read(*arguments, **named)
            await ask(world, kinds.SECRET, names.CA_SECRET, SYSTEM)
            return found

        client.get = late  # type: ignore[method-assign]
        with pytest.raises(ApiError) as caught:
            await keeper.look()
    assert caught.value.status == 409
    assert (await authorities(world)).next is None


async def test_a_deleted_secret_comes_back_as_it_was(platform: InForce) -> None:
    """Another authority at once would make every certificate in use worthless."""
    world = platform.world
    before = await authorities(world)
    async with leader(world) as (keeper, _, _):
        await world.admin.delete(kinds.SECRET, names.CA_SECRET, SYSTEM)
        await keeper.look()
    assert (await authorities(world)).data == before.data


async def test_a_companys_authority_is_followed_by_the_one_that_the_company_gives(platform: InForce) -> None:
    world = platform.world
    await world.admin.delete(kinds.SECRET, names.CA_SECRET, SYSTEM)
    pair = new_authority(datetime.now(UTC) - timedelta(days=1))
    await world.admin.create(authority_secret({"tls.crt": pair.certificate, "tls.key": pair.key}, SYSTEM, own=False))
    await ask(world, kinds.SECRET, names.CA_SECRET, SYSTEM)
    assert (await look(world)).next is None
    assert "AuthorityRefused" in await events(world)
    following = new_authority(datetime.now(UTC))
    data = {"next.crt": encode(following.certificate)}
    await world.admin.merge_patch(kinds.SECRET, names.CA_SECRET, {"data": data}, namespace=SYSTEM)
    assert (await look(world)).problem == "next.key is missing"
    data = {"next.key": encode(following.key)}
    await world.admin.merge_patch(kinds.SECRET, names.CA_SECRET, {"data": data}, namespace=SYSTEM)
    await look(world)
    for _ in range(2):
        await reconcile(world)
        await platform.everything()
    await reconcile(world)
    assert (await look(world)).current.certificate == following.certificate


@pytest.mark.parametrize(("kind", "name"), [(kinds.TENANT, "acme"), (kinds.VOICE_REGION, REGION)])
async def test_a_certificate_is_renewed_once_when_asked_for(
    platform: InForce, kind: kinds.ResourceType, name: str
) -> None:
    world = platform.world
    secret, namespace = ("edge-tls", EDGE_NAMESPACE) if kind is kinds.VOICE_REGION else (names.APP_TLS, "tenant-acme")
    before = await value(world, kinds.SECRET, secret, namespace, "tls.crt")
    await asyncio.sleep(1.1)  # certificates count seconds
    await ask(world, kind, name)
    await world.reconcile(name, kind=kind.kind)
    assert await value(world, kinds.SECRET, secret, namespace, "tls.crt") != before
    assert (await condition(world, kind, name))["reason"] == "Reloading"
    await platform.everything()
    await world.reconcile(name, kind=kind.kind)
    assert (await condition(world, kind, name))["reason"] == "Current"
    assert await world.reconcile(name, kind=kind.kind) == []


async def dies(work: Awaitable[object]) -> bool:
    """Whether the operator died."""
    try:
        await work
    except Crash:
        return True
    return False


async def app_template(world: World) -> Manifest:
    found = await world.admin.get(kinds.DEPLOYMENT, names.APP, "tenant-acme")
    assert found is not None
    return dict(found["spec"]["template"])


def series_of(series: Series) -> dict[str, float]:
    """The authority's metrics by name."""
    return {
        sample.name: sample.value
        for metric in series.collect()
        for sample in metric.samples
        if names.CA_SECRET in sample.labels.values()
    }
