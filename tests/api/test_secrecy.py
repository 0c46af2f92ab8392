"""No secret that the operator makes is in a log, an event, a status, a metric, or any object but a Secret."""

from __future__ import annotations

import base64
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from api.acme import running
from api.world import REGION, World
from prometheus_client import generate_latest

from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.authority import Authorities, load_authorities
from okitoki.kube.events import Recorder
from okitoki.logs import log_context
from okitoki.metrics.process import REGISTRY
from okitoki.reconcile.authority import AuthorityKeeper
from okitoki.reconcile.index import Index
from okitoki.reconcile.kind import Context, Images

SYSTEM = "okitoki-system"
PUBLIC = {"tls.crt", "next.crt", "previous.crt", "cross.crt"}
SHORTEST = 16


async def secrets_of(world: World) -> dict[str, str]:
    """Every secret value by where it is."""
    found: dict[str, str] = {}
    for item in await world.admin.list(kinds.SECRET):
        for key, value in (item.get("data") or {}).items():
            where = f"{item['metadata']['namespace']}/{item['metadata']['name']}/{key}"
            text = base64.b64decode(value).decode()
            if key == "tenant.json":
                found[where] = json.loads(text)["edgeToken"]
            elif key not in PUBLIC:
                found[where] = text
    return found


def leaks(secrets: dict[str, str], text: str) -> set[str]:
    """Secrets that are in a text: as they are, in base64, or any line of a key."""
    found = set()
    for where, value in secrets.items():
        lines = [line for line in value.splitlines() if len(line) >= SHORTEST and "PRIVATE KEY" not in line]
        forms = [*lines, base64.b64encode(value.encode()).decode()]
        if any(form in text for form in forms):
            found.add(where)
    return found


async def everything_but_secrets(world: World) -> str:
    every = (
        kinds.TENANT, kinds.VOICE_REGION, kinds.NAMESPACE, kinds.EVENT, kinds.CONFIG_MAP, kinds.SERVICE, kinds.POD,
        kinds.STATEFUL_SET, kinds.DEPLOYMENT, kinds.ROLE, kinds.ROLE_BINDING, kinds.NETWORK_POLICY,
    )  # fmt: skip
    return json.dumps([item for kind in every for item in await world.admin.list(kind)])


async def test_secrets_stay_in_secrets(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await world.make_namespace(SYSTEM)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    known = Authorities(await load_authorities(world.admin, SYSTEM, yesterday))
    world.authorities.latest = known.latest
    with log_context("Tenant", "acme", "uid"):
        await world.reconcile(REGION, times=2, kind="VoiceRegion")
        await running(world, numbers=[{"number": "+380441234567", "queue": "sales"}])
        # What goes wrong is told too.
        world.app.broken = "PUT /platform/v1/tenant: TimeoutError"
        world.agent.broken = "nobody could take over now"
        annotations = {labels.SWITCHOVER: datetime.now(UTC).isoformat(), labels.RENEW_CERTIFICATE: "please"}
        await world.admin.merge_patch(kinds.TENANT, "acme", {"metadata": {"annotations": annotations}})
        await world.reconcile("acme", times=2)
        await world.admin.merge_patch(kinds.DEPLOYMENT, names.APP, {"spec": {"replicas": 9}}, namespace="tenant-acme")
        await world.reconcile("acme")
        patch = {"metadata": {"annotations": {labels.RENEW_CERTIFICATE: datetime.now(UTC).isoformat()}}}
        await world.admin.merge_patch(kinds.SECRET, names.CA_SECRET, patch, namespace=SYSTEM)
        ctx = Context(world.admin, Index(), Images("a", "p", "e"), SYSTEM, known, Recorder(world.admin))
        logging.getLogger("test").debug("%r %r", ctx, known.latest)
        await AuthorityKeeper(ctx, lambda: None).look()
    secrets = await secrets_of(world)
    assert {where.rpartition("/")[2] for where in secrets} >= {
        "superuser-password", "replication-password", "app-password", "rest-password", "platform-token", "edge-token",
        "key", "tls.key", "next.key", "redis-password", "nonce-secret", "tenant.json",
    }  # fmt: skip
    assert all(len(value) >= SHORTEST for value in secrets.values())
    log = "\n".join(record.getMessage() for record in caplog.records) + caplog.text
    assert "Secret tenant-acme/postgres-credentials" in log
    assert leaks(secrets, log) == set()
    assert leaks(secrets, await everything_but_secrets(world)) == set()
    assert leaks(secrets, json.dumps(world.told)) == set()
    assert {reason for reason, _ in world.told} >= {"DriftRepaired", "RequestRefused"}
    assert leaks(secrets, generate_latest(REGISTRY).decode()) == set()


def test_a_leak_would_be_found() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----\n"
    secrets = {"password": "0123456789abcdef0123", "key": key}
    assert leaks(secrets, "the password is 0123456789abcdef0123") == {"password"}
    assert leaks(secrets, base64.b64encode(b"0123456789abcdef0123").decode()) == {"password"}
    assert leaks(secrets, "a line MIGHAgEAMBMGByqGSM49AgEGCCqGSM49 of it") == {"key"}
    assert leaks(secrets, "-----BEGIN PRIVATE KEY-----") == set()
