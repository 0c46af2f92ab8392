"""Objects of a tenant."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from unit.operator.factory import KYIV, a_tenant, what_is_observed

from okitoki.kube import labels
from okitoki.kube.pki import decode
from okitoki.kube.resources import Manifest, ObjectKey, type_of
from okitoki.tenant.build import build
from okitoki.tenant.build.deployment import secrets_hash
from okitoki.tenant.facts import RegionFacts, Volumes


def built(tenant: Any = None, **observed: Any) -> dict[str, Manifest]:
    """By kind/name."""
    tenant = tenant or a_tenant()
    made = build(tenant, what_is_observed(tenant, **observed))
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in made}


def test_everything_has_a_known_kind_a_key_of_its_own_and_the_owners_labels() -> None:
    made = build(a_tenant(), what_is_observed())
    assert len({ObjectKey.of(item) for item in made}) == len(made)
    for item in made:
        kind = type_of(item)
        assert kind.namespaced == ("namespace" in item["metadata"])
        assert labels.matches(item["metadata"]["labels"], {labels.MANAGED_BY: labels.MANAGER, labels.TENANT: "acme"}), (
            item["metadata"]["name"]
        )


def test_building_is_pure() -> None:
    tenant, observed = a_tenant(), what_is_observed()
    assert build(tenant, observed) == build(tenant, observed)


def test_policies_come_before_pods_and_secrets_before_their_readers() -> None:
    order = [f"{item['kind']}/{item['metadata']['name']}" for item in build(a_tenant(), what_is_observed())]
    assert order[0] == "Namespace/tenant-acme"
    for before, after in [
        ("NetworkPolicy/default-deny", "Deployment/app"),
        ("NetworkPolicy/postgres", "StatefulSet/postgres"),
        ("Secret/postgres-credentials", "StatefulSet/postgres"),
        ("Secret/app-tls", "Deployment/app"),
        ("RoleBinding/postgres", "StatefulSet/postgres"),
        ("Deployment/app", "Secret/edge-tenant-acme"),
    ]:
        assert order.index(before) < order.index(after)


@pytest.mark.parametrize("state", ["foreign", "terminating"])
def test_nothing_is_put_into_a_namespace_that_is_not_ours(state: str) -> None:
    assert built(namespace=state) == {}


def test_the_namespace_is_restricted_and_says_whose_it_is() -> None:
    found = built()["Namespace/tenant-acme"]["metadata"]["labels"]
    assert found["pod-security.kubernetes.io/enforce"] == "restricted"
    assert found[labels.OWNER_UID] == "uid-1"


def test_the_app_gets_the_environment_of_the_interface() -> None:
    container = built()["Deployment/app"]["spec"]["template"]["spec"]["containers"][0]
    plain = {item["name"]: item.get("value") for item in container["env"]}
    assert set(plain) == {
        "TENANT_NAME", "DB_MEMBERS", "DB_NAME", "DB_USER", "DB_PASSWORD", "PLATFORM_TOKEN", "EDGE_TOKEN",
        "ADMIN_API_KEY", "TLS_CERT_FILE", "TLS_KEY_FILE", "PORT",
    }  # fmt: skip
    assert plain["DB_MEMBERS"] == "postgres-0:5432,postgres-1:5432,postgres-2:5432"
    for name in ("DB_PASSWORD", "PLATFORM_TOKEN", "EDGE_TOKEN", "ADMIN_API_KEY"):
        assert plain[name] is None
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 8443, "scheme": "HTTPS"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_an_update_of_the_app_takes_no_pod_away_first_and_pods_are_spread() -> None:
    spec = built()["Deployment/app"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    spread = spec["template"]["spec"]["topologySpreadConstraints"][0]
    assert (spread["topologyKey"], spread["maxSkew"], spread["whenUnsatisfiable"]) == (
        "kubernetes.io/hostname",
        1,
        "DoNotSchedule",
    )


def test_the_apps_pods_are_replaced_when_what_they_read_at_their_start_changes_and_only_then() -> None:
    observed = what_is_observed()
    assert secrets_hash(observed) == secrets_hash(replace(observed, claimed={"+380441234567": "other"}))
    other_token = replace(observed.secrets, app={**observed.secrets.app, "edge-token": "x"})
    assert secrets_hash(observed) != secrets_hash(replace(observed, secrets=other_token))
    other_superuser = {**observed.secrets.database, "superuser-password": "x"}
    not_the_apps = replace(observed.secrets, database=other_superuser)
    assert secrets_hash(observed) == secrets_hash(replace(observed, secrets=not_the_apps))


def test_numbers_name_and_nodes_do_not_touch_any_pod_template() -> None:
    one = built()
    other = built(a_tenant(numbers=[], displayName="Other"), regions=(replace(KYIV, node_blocks=()),))
    for key in ("Deployment/app", "StatefulSet/postgres"):
        # The secrets are random in both; everything else must be the same.
        first, second = one[key]["spec"]["template"], other[key]["spec"]["template"]
        first["metadata"].get("annotations", {}).clear()
        second["metadata"].get("annotations", {}).clear()
        assert first == second


def test_the_edge_is_told_what_the_interface_says() -> None:
    found = built()["Secret/edge-tenant-acme"]
    assert found["metadata"]["namespace"] == "okitoki-region-kyiv"
    # Else the region would prune it.
    assert labels.REGION not in found["metadata"]["labels"]
    assert found["metadata"]["labels"][labels.EDGE_TENANT] == "acme"
    facts = json.loads(decode(found["data"]["tenant.json"]))
    token = facts.pop("edgeToken")
    assert len(token) == 64
    assert facts == {
        "tenant": "acme",
        "state": "Active",
        "host": "acme.kyiv.okitoki.test",
        "numbers": ["+380441234567"],
        "landlines": {},
        "namespace": "tenant-acme",
        "service": "app",
        "port": 8443,
        "serverName": "app.tenant-acme.svc",
    }


def test_the_edge_is_told_each_numbers_landlines_its_own_before_the_tenants() -> None:
    tenant = a_tenant(
        numbers=[
            {"number": "+380441234567", "queue": "sales"},
            {"number": "+380441234568", "queue": "sales", "landlines": ["+380441110000"]},
            {"number": "+380441234569", "queue": "sales"},
        ],
        backup={"landlines": ["+380447654321", "+380447654322"]},
    )
    made = built(tenant, claimed={"+380441234569": "older"})
    document = json.loads(decode(made["Secret/edge-tenant-acme"]["data"]["tenant.json"]))
    assert document["landlines"] == {
        "+380441234567": ["+380447654321", "+380447654322"],
        "+380441234568": ["+380441110000"],
    }


def test_a_number_of_an_older_tenant_is_not_published() -> None:
    found = built(claimed={"+380441234567": "other"})["Secret/edge-tenant-acme"]
    assert json.loads(decode(found["data"]["tenant.json"]))["numbers"] == []


def test_a_region_that_is_not_there_gets_nothing_and_the_others_do() -> None:
    tenant = a_tenant(regions=["kyiv", "lviv"])
    made = built(tenant, regions=(KYIV, RegionFacts("lviv")))
    assert [key for key in made if key.startswith("Secret/edge-tenant")] == ["Secret/edge-tenant-acme"]


def test_the_app_is_reached_from_the_operator_and_the_edges_nodes_alone() -> None:
    rules = built()["NetworkPolicy/app"]["spec"]["ingress"]
    assert len(rules) == 1
    assert rules[0]["ports"] == [{"protocol": "TCP", "port": 8443}]
    assert rules[0]["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "okitoki-system"}}},
        {"ipBlock": {"cidr": "198.18.1.2/32"}},
        {"ipBlock": {"cidr": "198.18.1.3/32"}},
    ]
    deny = built()["NetworkPolicy/default-deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress"]}


def test_without_the_databases_passwords_neither_they_nor_the_app_are_written() -> None:
    observed = what_is_observed(database_exists=True)
    lost = replace(observed, secrets=replace(observed.secrets, database={}))
    made = {f"{item['kind']}/{item['metadata']['name']}" for item in build(a_tenant(), lost)}
    assert "Secret/postgres-credentials" not in made
    assert "Deployment/app" not in made
    assert "StatefulSet/postgres" in made


def test_settings_that_depend_on_the_size_follow_the_volumes_and_not_the_wish() -> None:
    made = built(a_tenant(database={"storage": {"size": "2Gi"}}), volumes=Volumes("1Gi", {"a": 2**30, "b": 2**31}))
    assert '"max_slot_wal_keep_size": "256MB"' in made["ConfigMap/postgres-settings"]["data"]["patroni.yaml"]


def test_growing_storage_leaves_the_immutable_template_as_it_is() -> None:
    made = built(a_tenant(database={"storage": {"size": "2Gi"}}), volumes=Volumes(template_size="1Gi"))
    claim = made["StatefulSet/postgres"]["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
