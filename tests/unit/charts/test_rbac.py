"""The operator's rights are those that its code uses or grants, no fewer and no more."""

from collections.abc import Iterator
from typing import Any

import pytest

from okitoki.api.tenant import Tenant
from okitoki.api.voiceregion import VoiceRegion
from okitoki.database import objects as database
from okitoki.database.spec import DatabaseCluster
from okitoki.kinds import all_kinds
from okitoki.kube import resources
from okitoki.kube.names import LEASE_NAME
from okitoki.kube.resources import ResourceType
from okitoki.tenant import kind as tenant_kind
from okitoki.tenant.build.edge import edge_role
from okitoki.voiceregion import kind as region_kind
from okitoki.voiceregion.build import rbac as region

from .conftest import Manifest, one

Right = tuple[str, str, str]
"""API group, resource, verb."""

WATCH = {"get", "list", "watch"}
BUILD = {"create", "patch", "delete"}


def rights(rules: list[dict[str, Any]]) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield group, resource, verb


def of(kind: ResourceType, verbs: set[str], subresource: str = "") -> set[Right]:
    return {(kind.group, kind.plural + subresource, verb) for verb in verbs}


def used() -> set[Right]:
    """What the operator's own calls need, cluster-wide."""
    needed: set[Right] = set()
    for kind in all_kinds():
        needed |= of(kind.resource, {*WATCH, "patch"}) | of(kind.resource, {"patch"}, "/status")
        for watched in kind.watched:
            needed |= of(watched, WATCH)
    for built in {resources.NAMESPACE, *tenant_kind.OWN_KINDS, *region_kind.OWN_KINDS}:
        needed |= of(built, WATCH | BUILD)
    needed |= of(resources.NODE, WATCH)
    needed |= of(resources.POD, {"create", "delete"})  # sweeps of nodes; planned restarts of the edge
    needed |= of(resources.PERSISTENT_VOLUME_CLAIM, {"get", "list", "patch", "delete"})
    needed |= of(resources.STORAGE_CLASS, {"get"})
    needed |= of(resources.CUSTOM_RESOURCE_DEFINITION, {"get"})
    return needed


def granted_on() -> dict[str, set[Right]]:
    """What the Roles that it makes say; the API server refuses to grant what the granter does not have."""
    cluster = DatabaseCluster("acme", "tenant-acme", "okitoki-system", 3, "1Gi", 1 << 30, "postgres:1")
    tenant = Tenant.model_validate(
        {"metadata": {"name": "acme", "uid": "u"}, "spec": {"displayName": "Acme", "regions": ["kyiv"]}}
    )
    addresses = {"sip": "198.18.1.1", "https": "198.18.1.2", "media": ["198.18.1.3", "198.18.1.4"]}
    voice_region = VoiceRegion.model_validate(
        {
            "metadata": {"name": "kyiv", "uid": "u"},
            "spec": {
                "domain": "kyiv.okitoki.test",
                "nodeSelector": {"topology.kubernetes.io/region": "kyiv"},
                "addresses": addresses,
                "media": {"portRange": {"from": 30000, "to": 30999}},
                "carriers": [{"name": "main", "hosts": ["198.18.1.9"]}],
            },
        }
    )
    roles = {"database": database.role(cluster), "edge": region.role(voice_region), "tenant": edge_role(tenant)}
    return {name: set(rights(role["rules"])) for name, role in roles.items()}


@pytest.fixture
def cluster_role(operator: list[Manifest]) -> set[Right]:
    return set(rights(one(operator, "ClusterRole")["rules"]))


def test_everything_that_the_operator_does_is_allowed(cluster_role: set[Right]) -> None:
    assert used() - cluster_role == set()


@pytest.mark.parametrize("role", ["database", "edge", "tenant"])
def test_every_role_that_it_makes_can_be_granted(cluster_role: set[Right], role: str) -> None:
    assert granted_on()[role] - cluster_role == set()


def test_nothing_else_is_allowed(cluster_role: set[Right]) -> None:
    assert cluster_role - used() - set().union(*granted_on().values()) == set()


def test_it_can_neither_escalate_nor_impersonate_nor_use_wildcards(operator: list[Manifest]) -> None:
    for item in operator:
        for group, resource, verb in rights(item.get("rules", [])):
            assert "*" not in (group, resource, verb)
            assert verb not in ("escalate", "bind", "impersonate")


def test_only_the_own_definitions_are_read(operator: list[Manifest]) -> None:
    [rule] = [
        rule for rule in one(operator, "ClusterRole")["rules"] if "customresourcedefinitions" in rule["resources"]
    ]
    assert rule["resourceNames"] == [
        f"{kind.plural}.{kind.group}" for kind in (resources.TENANT, resources.VOICE_REGION)
    ]


def test_in_its_own_namespace_it_has_its_lease_and_tells_of_the_authorities(operator: list[Manifest]) -> None:
    role = one(operator, "Role")
    assert role["metadata"]["namespace"] == "somewhere"
    assert role["rules"] == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": [LEASE_NAME],
            "verbs": ["get", "update"],
        },
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    ]


def test_events_are_written_where_those_of_cluster_scoped_resources_live(operator: list[Manifest]) -> None:
    role = one(operator, "Role", "okitoki-operator-events")
    assert role["metadata"]["namespace"] == "default"
    assert set(rights(role["rules"])) == {("", "events", "create")}


def test_bindings_bind_the_roles_to_the_pods_account(operator: list[Manifest]) -> None:
    account = one(operator, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    bindings = [item for item in operator if item["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    assert {item["roleRef"]["name"] for item in bindings} == {"okitoki-operator", "okitoki-operator-events"}
    for item in bindings:
        assert item["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "somewhere"}]
