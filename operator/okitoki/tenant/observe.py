"""Reads everything a reconcile of a tenant needs; writes nothing."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Mapping
from typing import Any

from okitoki.api.tenant import Tenant
from okitoki.database.losses import observe_losses
from okitoki.database.patroni_api import PatroniApi
from okitoki.database.reinitialised import reinitialised
from okitoki.database.spec import member_of
from okitoki.database.state import SYNC_CONFIG_MAP, database_state, pod_problem, pod_ready
from okitoki.database.stopping import CONFIG_MAP, stop_announced
from okitoki.kube import labels, names
from okitoki.kube.apply import Live
from okitoki.kube.diff import parse_quantity
from okitoki.kube.edge_report import DEAD_TRUNK, LandlineMode, landline_modes
from okitoki.kube.ownership import namespace_state
from okitoki.kube.pki import KeyPair, Leaf, certificate_ids, decode
from okitoki.kube.resources import (
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    STORAGE_CLASS,
    Manifest,
    ObjectKey,
    annotation,
)
from okitoki.reconcile.certificate import InUse
from okitoki.reconcile.index import by_age
from okitoki.reconcile.kind import Context
from okitoki.reconcile.landlines import latest
from okitoki.tenant.app_api import AppApi, AppUnavailable
from okitoki.tenant.facts import (
    AppState,
    Observed,
    RegionFacts,
    Retained,
    Secrets,
    Settings,
    Values,
    Volumes,
    claimed_numbers,
)
from okitoki.tenant.shown import ShownCertificates


async def observe(
    ctx: Context, tenant: Tenant, live: Live, app_api: AppApi, patroni: PatroniApi, shown: ShownCertificates
) -> Observed:
    """See the module; `live` holds the objects of the tenant's own namespace and its edge Secrets."""
    name = tenant.metadata.name
    namespace = names.tenant_namespace(name)
    live_namespace = live.get(ObjectKey("Namespace", "", namespace))
    state = namespace_state(live_namespace, tenant.metadata.uid)
    if state != "ours":
        # A stranger's objects under our names are none of our business.
        live = {key: item for key, item in live.items() if key.namespace != namespace}
    store = live.get(ObjectKey("ConfigMap", namespace, CONFIG_MAP))
    pods, claims = await asyncio.gather(_pods(ctx, name), _claims_of(ctx, namespace)) if state == "ours" else ([], [])
    database_pods = [pod for pod in pods if _component(pod) == names.POSTGRES]
    secrets = _secrets(live, namespace)
    app_pods = [pod for pod in pods if _component(pod) == names.APP]
    app = _app_state(app_pods, live, namespace)
    authorities = ctx.authorities.latest
    profile, error = await _profile(app_api, namespace, secrets, app)
    volumes = await _volumes(ctx, live, namespace, claims)
    database = database_state(database_pods, live.get(ObjectKey("ConfigMap", namespace, SYNC_CONFIG_MAP)))
    return Observed(
        settings=Settings(ctx.namespace, ctx.images.app, ctx.images.postgres, authorities),
        namespace=state,
        regions=tuple(await asyncio.gather(*(_region(ctx, region, name) for region in tenant.spec.regions))),
        secrets=secrets,
        database=database,
        dynamic_configuration=_dynamic(store),
        database_exists=bool(volumes.sizes),
        volumes=volumes,
        app=app,
        claimed=_claims(ctx, name),
        published=_published(ctx, live, name),
        profile=profile,
        profile_error=error,
        losses=await observe_losses(ctx.client, patroni, database, database_pods, claims),
        now=ctx.now(),
        database_replicas=_replicas(live.get(ObjectKey("StatefulSet", namespace, names.POSTGRES))),
        stop_announced=stop_announced(store),
        use=await _use(authorities.current.leaf(secrets.tls), live, namespace, app_pods, shown),
        reinitialised=reinitialised(store),
        retained=await _retained(ctx, live_namespace) if state == "foreign" else None,
    )


def node_blocks(node: Manifest) -> list[str]:
    """CIDRs from which host-network processes of a node reach pods: its addresses and, with some network plugins, the
    first two addresses of its pod range (network and gateway; never a pod's)."""
    blocks = [
        f"{item['address']}/32"
        for item in (node.get("status") or {}).get("addresses") or []
        if item["type"] == "InternalIP" and ":" not in item["address"]
    ]
    for cidr in (node.get("spec") or {}).get("podCIDRs") or []:
        network = ipaddress.ip_network(cidr)
        if network.version == 4:
            blocks.append(f"{network.network_address}/31")
    return blocks


async def _pods(ctx: Context, tenant: str) -> list[Manifest]:
    return await ctx.client.list(POD, names.tenant_namespace(tenant), {labels.TENANT: tenant})


async def _claims_of(ctx: Context, namespace: str) -> list[Manifest]:
    return await ctx.client.list(PERSISTENT_VOLUME_CLAIM, namespace)


def _component(pod: Manifest) -> str:
    return str((pod["metadata"].get("labels") or {}).get(labels.NAME, ""))


def _values(live: Live, namespace: str, name: str) -> Values:
    secret = live.get(ObjectKey("Secret", namespace, name)) or {}
    return {key: decode(value) for key, value in (secret.get("data") or {}).items()}


def _secrets(live: Live, namespace: str) -> Secrets:
    tls = _values(live, namespace, names.APP_TLS)
    return Secrets(
        database=_values(live, namespace, names.POSTGRES_CREDENTIALS),
        app=_values(live, namespace, names.APP_SECRETS),
        admin=_values(live, namespace, names.API_ADMIN),
        tls=KeyPair(tls["tls.crt"], tls["tls.key"]) if {"tls.crt", "tls.key"} <= set(tls) else None,
    )


def _app_state(pods: list[Manifest], live: Live, namespace: str) -> AppState:
    deployment = live.get(ObjectKey("Deployment", namespace, names.APP)) or {}
    status = deployment.get("status") or {}
    faulty = [(pod["metadata"]["name"], pod_problem(pod)) for pod in pods if not pod_ready(pod)]
    problems = [f"{name}: {text}" for name, text in faulty if text]
    current = status.get("observedGeneration", 0) >= (deployment.get("metadata") or {}).get("generation", 1)
    return AppState(
        ready=sum(map(pod_ready, pods)),
        updated=status.get("updatedReplicas", 0) if current else 0,
        problem=sorted(problems)[0] if problems else "",
        pods=len(pods),
    )


async def _profile(
    app_api: AppApi, namespace: str, secrets: Secrets, app: AppState
) -> tuple[Mapping[str, Any] | None, str]:
    token = secrets.app.get("platform-token")
    if not token or not app.ready:
        return None, ""
    try:
        return await app_api.read(namespace, token) or {}, ""
    except AppUnavailable as error:
        return None, str(error)


async def _retained(ctx: Context, namespace: Manifest | None) -> Retained | None:
    """What a namespace that is marked so keeps of an earlier tenant."""
    metadata = (namespace or {}).get("metadata") or {}
    found = metadata.get("labels") or {}
    if labels.RETAINED not in found or labels.OWNER_UID not in found:
        return None
    return Retained(
        owner=found[labels.OWNER_UID],
        since=annotation(namespace, labels.RETAINED_SINCE),
        namespace_uid=metadata["uid"],
        volumes=_sizes(await ctx.client.list(PERSISTENT_VOLUME_CLAIM, metadata["name"])),
    )


def _sizes(claims: list[Manifest]) -> dict[str, int]:
    """Requested bytes of each member's claim."""
    return {
        claim["metadata"]["name"]: int(parse_quantity(claim["spec"]["resources"]["requests"]["storage"]))
        for claim in claims
        if member_of(claim["metadata"]["name"])
    }


async def _volumes(ctx: Context, live: Live, namespace: str, claims: list[Manifest]) -> Volumes:
    stateful_set = live.get(ObjectKey("StatefulSet", namespace, names.POSTGRES)) or {}
    templates = (stateful_set.get("spec") or {}).get("volumeClaimTemplates") or []
    size = templates[0]["spec"]["resources"]["requests"]["storage"] if templates else ""
    classes = {claim["spec"].get("storageClassName") for claim in claims} - {None}
    expandable = bool(classes)
    for name in sorted(classes):
        found = await ctx.client.get(STORAGE_CLASS, name)
        expandable = expandable and bool((found or {}).get("allowVolumeExpansion"))
    return Volumes(size, _sizes(claims), expandable)


async def _region(ctx: Context, name: str, tenant: str) -> RegionFacts:
    raw = ctx.index.regions.get(name)
    if raw is None:
        return RegionFacts(name)
    namespace = names.region_namespace(name)
    found = ctx.cache.namespace(namespace) or await ctx.client.get(NAMESPACE, namespace)
    selector = raw["spec"]["nodeSelector"]
    nodes = [node for node in ctx.index.nodes.values() if labels.matches(node["metadata"]["labels"], selector)]
    return RegionFacts(
        name=name,
        domain=raw["spec"]["domain"],
        namespace=namespace,
        namespace_ready=namespace_state(found, raw["metadata"]["uid"]) == "ours",
        node_blocks=tuple(sorted({block for node in nodes for block in node_blocks(node)})),
        dead_trunks=dead_trunks(raw),
        landlines=await _landlines(ctx, name, namespace, tenant),
    )


async def _landlines(ctx: Context, region: str, namespace: str, tenant: str) -> LandlineMode | None:
    if ctx.index.landlines.known:
        return ctx.index.landlines.of(region, tenant)
    return landline_mode(await ctx.client.list(POD, namespace, labels.selector("edge", region=region)), tenant)


def landline_mode(pods: list[Manifest], tenant: str) -> LandlineMode | None:
    """Where a tenant's calls go, by the latest word of a region's edge pods."""
    return latest(modes[tenant] for pod in pods if tenant in (modes := landline_modes(pod)))


def dead_trunks(region: Manifest) -> tuple[str, ...]:
    """Trunks of a region in words when the status of the region says that all are dead."""
    trunks = (region.get("status") or {}).get("trunks") or []
    if not all(trunk["state"] in DEAD_TRUNK for trunk in trunks):
        return ()
    return tuple(f"{trunk['host']} {trunk['state']} since {trunk.get('since', 'an unknown time')}" for trunk in trunks)


async def _use(leaf: Leaf | None, live: Live, namespace: str, pods: list[Manifest], shown: ShownCertificates) -> InUse:
    bundle = live.get(ObjectKey("ConfigMap", namespace, names.CA_CONFIG_MAP)) or {}
    trusted = (bundle.get("data") or {}).get("ca.crt")
    return InUse(
        shown=await shown.of(pods, leaf.id if leaf else ""),
        trusted={} if trusted is None else {f"ConfigMap {names.CA_CONFIG_MAP}": certificate_ids(trusted)},
    )


def _replicas(stateful_set: Manifest | None) -> int | None:
    return int(stateful_set["spec"].get("replicas", 1)) if stateful_set else None


def _dynamic(config_map: Manifest | None) -> Mapping[str, Any] | None:
    text = annotation(config_map, "config")
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _claims(ctx: Context, name: str) -> dict[str, str]:
    own = ctx.index.tenants.get(name)
    if own is None:
        return {}
    return claimed_numbers(own, by_age(ctx.index.tenants[other] for other in ctx.index.sharing_numbers(own)))


def _published(ctx: Context, live: Live, name: str) -> frozenset[str]:
    return frozenset(
        region
        for region in ctx.index.regions
        if ObjectKey("Secret", names.region_namespace(region), names.edge_tenant_secret(name)) in live
    )
