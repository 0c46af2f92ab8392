"""The objects of a region."""

import base64
import json
from typing import Any

import pytest
from unit.operator_voiceregion.support import UID, observed, pair, region

from okitoki.kube.resources import ObjectKey
from okitoki.voiceregion.build import build
from okitoki.voiceregion.build.config_map import region_facts
from okitoki.voiceregion.build.stateful_set import CAPABILITIES, stateful_set
from okitoki.voiceregion.build.sweep import sweep_pod

NAMESPACE = "okitoki-region-kyiv"


def objects() -> dict[tuple[str, str], Any]:
    return {(item["kind"], item["metadata"]["name"]): item for item in build(region(), observed())}


def containers() -> dict[str, Any]:
    return {item["name"]: item for item in stateful_set(region(), observed())["spec"]["template"]["spec"]["containers"]}


def test_everything_is_there_and_in_the_regions_namespace() -> None:
    found = objects()
    assert list(found) == [
        ("Namespace", NAMESPACE),
        ("ServiceAccount", "edge"),
        ("Role", "edge"),
        ("RoleBinding", "edge"),
        ("Secret", "edge-secrets"),
        ("Secret", "edge-tls"),
        ("Secret", "edge-tunnel"),
        ("ConfigMap", "okitoki-ca"),
        ("ConfigMap", "edge-region"),
        ("PodDisruptionBudget", "edge"),
        ("StatefulSet", "edge"),
    ]
    for (kind, _), item in found.items():
        assert kind == "Namespace" or item["metadata"]["namespace"] == NAMESPACE
        assert item["metadata"]["labels"]["platform.oki-toki.net/region"] == "kyiv"
        assert ObjectKey.of(item)


@pytest.mark.parametrize("state", ["foreign", "terminating"])
def test_nothing_in_a_namespace_that_is_not_ours(state: str) -> None:
    assert build(region(), observed(namespace=state)) == []


def test_the_namespace_says_whose_it_is_and_why_it_is_privileged() -> None:
    metadata = objects()["Namespace", NAMESPACE]["metadata"]
    assert metadata["labels"]["platform.oki-toki.net/owner-uid"] == UID
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert "host network" in metadata["annotations"]["platform.oki-toki.net/pod-security-reason"]
    assert metadata["annotations"]["platform.oki-toki.net/edge-nodes"] == "worker0,worker1"


def test_region_json_is_as_the_interface_says() -> None:
    text = objects()["ConfigMap", "edge-region"]["data"]["region.json"]
    assert json.loads(text) == {
        "region": "kyiv",
        "domain": "kyiv.okitoki.test",
        "namespace": NAMESPACE,
        "addresses": {"sip": "198.18.1.210", "https": "198.18.1.211", "media": ["198.18.1.212", "198.18.1.213"]},
        "ports": {
            "sip": 5060,
            "sips": 5061,
            "https": 443,
            "dmq": 5070,
            "redis": 16379,
            "ng": [2223, 2224],
            "cli": [9901, 9902],
            "agent": 9780,
            "tunnel": 51840,
        },
        "tunnel": {"interface": "okitoki-wg0", "table": 20500},
        "aliases": {"media": ["198.18.255.1", "198.18.255.2"], "peer": "198.18.255.3"},
        "mediaPorts": {"from": 30000, "to": 30999},
        "vrrp": {"advertIntervalMilliseconds": 100, "routerIds": {"sip": 51, "https": 52, "media": [53, 54]}},
        "carriers": [{"name": "main", "hosts": ["198.18.1.150"], "probeSeconds": 5}],
    }


def test_the_edge_can_read_what_the_operator_writes() -> None:
    from okitoki_agents.edge.facts import parse_region

    found = parse_region(region_facts(region(), observed(slot=7)))
    assert found.ports.agent == 9787
    assert {address.router_id for address in found.addresses} == {79, 80, 81, 82}
    assert found.carriers[0].probe_seconds == 5


def test_the_edge_learns_the_limit_of_calls_and_a_region_without_one_stays_as_it_was() -> None:
    from okitoki_agents.edge.facts import parse_region

    media = {"portRange": {"from": 30000, "to": 30999}, "maxCalls": 250}
    assert parse_region(region_facts(region(media=media), observed())).max_calls == 250
    assert "maxCalls" not in region_facts(region(), observed())


def test_secrets_hold_what_was_prepared() -> None:
    data = objects()["Secret", "edge-secrets"]["data"]
    assert base64.b64decode(data["redis-password"]).decode() == "r" * 64
    assert set(data) == {"redis-password", "nonce-secret"}
    assert objects()["Secret", "edge-tls"]["type"] == "kubernetes.io/tls"


def test_no_tenant_and_no_pod_changes_the_pod_template() -> None:
    """Routes, back ends and certificates reach the agent at run time; a changed template would restart the edge."""
    before = stateful_set(region(), observed())
    for changes in ({"tenants": 900}, {"pods": pair(ready=False)}, {"used_nodes": ("a", "b", "c")}, {"nodes": ()}):
        assert stateful_set(region(), observed(**changes)) == before


def test_a_change_of_the_regions_facts_changes_the_template() -> None:
    before = stateful_set(region(), observed())["spec"]["template"]
    carriers = [{"name": "main", "hosts": ["198.18.1.151"]}]
    assert stateful_set(region(carriers=carriers), observed())["spec"]["template"] != before
    assert stateful_set(region(), observed(image="okitoki/edge:2"))["spec"]["template"] != before


def test_pods_restart_only_when_told_and_never_share_a_node() -> None:
    spec = stateful_set(region(), observed())["spec"]
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    assert spec["replicas"] == 2
    pod = spec["template"]["spec"]
    assert pod["hostNetwork"] is True
    assert pod["shareProcessNamespace"] is True
    (rule,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert rule["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["selector"]["matchLabels"] == rule["labelSelector"]["matchLabels"]


def test_an_edge_that_the_api_server_cannot_see_is_not_evicted() -> None:
    tolerations = stateful_set(region(), observed())["spec"]["template"]["spec"]["tolerations"]
    endless = {item["key"] for item in tolerations if item["effect"] == "NoExecute" and "tolerationSeconds" not in item}
    assert endless == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}


def test_only_the_init_container_is_privileged() -> None:
    pod = stateful_set(region(), observed())["spec"]["template"]["spec"]
    assert [item["name"] for item in pod["initContainers"]] == ["host-setup"]
    assert pod["initContainers"][0]["securityContext"]["privileged"] is True
    for name, container in containers().items():
        security = container["securityContext"]
        assert "privileged" not in security
        assert security["capabilities"]["drop"] == ["ALL"]
        assert tuple(security["capabilities"].get("add", ())) == CAPABILITIES[name]
        assert security["readOnlyRootFilesystem"] is True
    with_network = {name for name, added in CAPABILITIES.items() if {"NET_ADMIN", "NET_RAW"} & set(added)}
    assert with_network == {"keepalived", "guard", "tunnel"}
    assert CAPABILITIES["agent"] == ()


def test_only_the_agent_has_the_api_token() -> None:
    with_token = [
        name
        for name, container in containers().items()
        if any(mount["name"] == "api-token" for mount in container["volumeMounts"])
    ]
    assert with_token == ["agent"]


def test_containers_are_those_of_the_interface_and_drain_first() -> None:
    found = containers()
    assert list(found) == [
        "redis", "rtpengine-1", "rtpengine-2", "kamailio", "haproxy", "keepalived", "guard", "agent", "tunnel",
    ]  # fmt: skip
    for name, container in found.items():
        assert container["command"] + container["args"] == ["okitoki-edge", "run", name]
        assert container["lifecycle"]["preStop"]["exec"]["command"] == [
            "okitoki-edge",
            "drain" if name == "guard" else "wait-drained",
        ]
        assert "limits" not in container["resources"]
        assert {item["name"] for item in container["env"]} == {
            "NODE_IP", "POD_NAME", "POD_NAMESPACE", "REDIS_PASSWORD", "NONCE_SECRET",
        }  # fmt: skip


def test_the_agent_serves_the_probes_on_the_regions_port() -> None:
    agent = {
        item["name"]: item
        for item in stateful_set(region(), observed(slot=2))["spec"]["template"]["spec"]["containers"]
    }["agent"]
    assert agent["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 9782}
    assert agent["livenessProbe"]["httpGet"]["port"] == 9782


def test_data_lies_in_a_folder_that_another_region_of_the_name_does_not_find() -> None:
    volumes = {item["name"]: item for item in stateful_set(region(), observed())["spec"]["template"]["spec"]["volumes"]}
    assert volumes["data"]["hostPath"]["path"] == "/var/lib/okitoki/edge-kyiv-0f3c2a51"


def test_the_sweep_runs_on_the_named_node_whatever_its_taints() -> None:
    pod = sweep_pod("kyiv", UID, "worker0", "okitoki/edge:1", keep_sysctls=True)
    assert pod["spec"]["nodeName"] == "worker0"
    assert pod["spec"]["tolerations"] == [{"operator": "Exists"}]
    sweep, folder = pod["spec"]["containers"]
    assert sweep["command"] == ["okitoki-edge", "sweep", "--keep-sysctls"]
    assert folder["command"][-1] == "/folders/edge-kyiv-0f3c2a51"
    assert sweep_pod("kyiv", UID, "worker1", "i", keep_sysctls=False)["metadata"]["name"] != pod["metadata"]["name"]
