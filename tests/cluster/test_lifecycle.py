"""Resources from apply to deletion, as a user sees them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest

from cluster.conftest import MANIFESTS, Installed, conditions, remove
from okitoki_chaos.whole import platform_faults
from okitoki_local.demo import layout, platform, waiting
from okitoki_local.environment import Environment
from okitoki_local.system import CommandFailed, wait_until

OPERATOR = ("-n", platform.SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/name=okitoki")


def tenant(name: str, **spec: object) -> layout.Object:
    """A tenant of the tests' region."""
    found = next(obj for obj in layout.load_manifests(MANIFESTS) if obj["kind"] == "Tenant")
    changed = copy.deepcopy(found)
    changed["metadata"]["name"] = name
    changed["spec"]["numbers"] = []
    changed["spec"].update(spec)
    return changed


PATIENCE_SECONDS = 300
"""A busy machine moves addresses, and Ready is False until both nodes have compared their calls again."""


def test_region_and_tenants_become_ready(env: Environment, installed: Installed) -> None:
    installed.watcher.wait(PATIENCE_SECONDS)
    listed = env.kubectl("get", "tenants,voiceregions")
    for obj in installed.objects:
        assert obj["metadata"]["name"] in listed


def test_ready_means_that_every_server_is_whole(cluster: platform.KindCluster, installed: Installed) -> None:
    """Ready and not whole may differ for as long as the two are read one after the other, and not for longer."""

    def agree() -> bool:
        ready = not installed.watcher.unready()
        return ready and platform_faults(cluster, installed.objects) == []

    wait_until("everything to be Ready and whole", agree, PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"numbers": [{"number": "044 123", "queue": "sales"}]}, ("spec.numbers[].number", "E.164", "+380441234567")),
        ({"regions": []}, ("spec.regions",)),
        ({"database": {"storage": {"size": "1 GB"}}}, ("spec.database.storage.size", "10Gi")),
        ({"database": {"instances": 2}}, ("spec.database.instances", "3")),
    ],
    ids=["number", "no region", "storage", "two members"],
)
def test_an_invalid_tenant_is_refused_with_field_and_mend(
    env: Environment, operator: None, spec: dict[str, object], words: tuple[str, ...]
) -> None:
    with pytest.raises(CommandFailed) as refused:
        platform.apply(env, [tenant("broken", **spec)])
    for word in words:
        assert word in str(refused.value)
    assert platform.existing(env, "tenant", "broken") is None


def test_storage_cannot_shrink(env: Environment, installed: Installed) -> None:
    changed = copy.deepcopy(next(obj for obj in installed.objects if obj["kind"] == "Tenant"))
    changed["spec"]["database"]["storage"]["size"] = "256Mi"
    with pytest.raises(CommandFailed, match=r"spec.database.storage.size cannot .*set it to that size or more"):
        platform.apply(env, [changed])


@pytest.fixture
def foreign_namespace(env: Environment) -> Iterator[str]:
    """Somebody's namespace under the name that a tenant would get."""
    env.kubectl("create", "namespace", "tenant-squatted")
    try:
        yield "tenant-squatted"
    finally:
        remove(env, [tenant("squatted")])
        env.kubectl("delete", "namespace", "tenant-squatted", "--ignore-not-found", timeout=200)


def test_a_namespace_that_is_not_ours_is_never_adopted(
    env: Environment, installed: Installed, foreign_namespace: str
) -> None:
    platform.apply(env, [tenant("squatted")])
    wait_until(
        "the refusal to adopt",
        lambda: conditions(env, "tenant", "squatted").get("Ready", {}).get("reason") == "NamespaceNotOwned",
        60,
    )
    assert env.kubectl("get", "statefulsets,deployments,secrets", "-n", foreign_namespace, "-o", "name").split() == []
    remove(env, [tenant("squatted")])
    assert foreign_namespace in env.kubectl("get", "namespace", foreign_namespace, "-o", "name")


def test_a_number_that_another_tenant_has_stops_nobody_else(env: Environment, installed: Installed) -> None:
    taken = layout.tenants_of(installed.objects)[0].number
    thief = tenant("thief", numbers=[{"number": taken, "queue": "sales"}])
    platform.apply(env, [thief])
    try:
        wait_until(
            "the conflict",
            lambda: any(taken in one["message"] for one in conditions(env, "tenant", "thief").values()),
            60,
        )
        installed.watcher.wait(PATIENCE_SECONDS)
    finally:
        remove(env, [thief])


def test_drift_is_repaired(env: Environment, installed: Installed) -> None:
    namespace = installed.tenants[0].namespace
    env.kubectl("scale", "deployment", "app", "-n", namespace, "--replicas=1")
    wait_until(
        "two replicas again",
        lambda: env.kubectl("get", "deployment", "app", "-n", namespace, "-o", "jsonpath={.spec.replicas}") == "2",
        60,
    )
    env.kubectl("delete", "poddisruptionbudget", "--all", "-n", namespace)
    wait_until(
        "the budgets again",
        lambda: len(env.kubectl("get", "poddisruptionbudget", "-n", namespace, "-o", "name").split()) >= 2,
        60,
    )


def test_nothing_is_written_at_rest(env: Environment, installed: Installed) -> None:
    """Applied again unchanged, nothing changes: no object that the operator owns gets a new resourceVersion from it."""
    installed.watcher.wait(PATIENCE_SECONDS)

    def written() -> dict[str, str]:
        found = json.loads(
            env.kubectl("get", "tenants,voiceregions", "--show-managed-fields", "-o", "json")
        )["items"]  # fmt: skip
        return {
            waiting.title(obj): json.dumps([f for f in obj["metadata"]["managedFields"] if f["manager"] != "kubectl"])
            for obj in found
            if obj["metadata"]["name"] in {one["metadata"]["name"] for one in installed.objects}
        }

    before = written()
    platform.apply(env, installed.objects)
    env.kubectl("rollout", "status", "deployment", "--timeout=60s", *OPERATOR)
    assert written() == before


def test_the_operator_killed_while_it_creates_a_tenant_finishes_it(env: Environment, installed: Installed) -> None:
    """Both operators are killed as soon as the tenant's namespace is there; what comes back goes on."""
    fresh = tenant("phoenix")
    platform.apply(env, [fresh])
    try:
        wait_until("its namespace", lambda: bool(platform.existing(env, "namespace", "tenant-phoenix")), 60)
        env.kubectl("delete", "pods", *OPERATOR, "--force", "--grace-period=0")
        waiting.Watcher(env.kubectl, [waiting.title(fresh)]).wait(600)
    finally:
        remove(env, [fresh])
    assert platform.existing(env, "namespace", "tenant-phoenix") is None


def test_deletion_during_creation_leaves_nothing(env: Environment, installed: Installed) -> None:
    fleeting = tenant("fleeting")
    platform.apply(env, [fleeting])
    wait_until("its namespace", lambda: bool(platform.existing(env, "namespace", "tenant-fleeting")), 60)
    remove(env, [fleeting])
    assert platform.existing(env, "namespace", "tenant-fleeting") is None
    secrets = env.kubectl("get", "secrets", "-n", installed.region_namespace, "-o", "name")
    assert "edge-tenant-fleeting" not in secrets
