"""Which changes of watched objects ask for a reconcile."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from okitoki.reconcile.trigger import fingerprint

POD: dict[str, Any] = {
    "kind": "Pod",
    "metadata": {
        "name": "postgres-0",
        "uid": "1",
        "resourceVersion": "1",
        "labels": {"role": "replica"},
        "annotations": {"status": '{"role":"replica","state":"running","xlog_location":1}'},
    },
    "spec": {"nodeName": "a"},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": "x"}]},
}


def changed(manifest: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    copied = copy.deepcopy(manifest)
    node = copied
    *way, last = path.split("/")
    for key in way:
        node = node.setdefault(key, {})
    node[last] = value
    return copied


def test_patronis_positions_ask_for_nothing() -> None:
    moved = changed(POD, "metadata/annotations/status", '{"role":"replica","state":"running","xlog_location":99}')
    assert fingerprint(changed(moved, "metadata/resourceVersion", "2")) == fingerprint(POD)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata/labels/role", "primary"),
        ("metadata/annotations/status", '{"role":"primary","state":"running"}'),
        ("metadata/annotations/platform.oki-toki.net~edge-status", "{}"),
        ("status/conditions", [{"type": "Ready", "status": "False"}]),
        ("status/containerStatuses", [{"name": "postgres", "restartCount": 1}]),
        ("metadata/deletionTimestamp", "2026-11-24T12:00:00Z"),
    ],
)
def test_what_changes_the_state_of_a_pod_asks_for_a_reconcile(path: str, value: Any) -> None:
    other = changed(POD, path.replace("~", "\0"), value)
    if "~" in path:
        annotations = other["metadata"]["annotations"]
        annotations["platform.oki-toki.net/edge-status"] = annotations.pop("platform.oki-toki.net\0edge-status")
    assert fingerprint(other) != fingerprint(POD)


def test_our_own_status_asks_for_nothing_and_the_spec_does() -> None:
    tenant = {"kind": "Tenant", "metadata": {"name": "acme"}, "spec": {"displayName": "Acme"}, "status": {}}
    assert fingerprint(changed(tenant, "status/numbers", 1)) == fingerprint(tenant)
    assert fingerprint(changed(tenant, "spec/displayName", "Other")) != fingerprint(tenant)
    assert fingerprint(changed(tenant, "metadata/deletionTimestamp", "now")) != fingerprint(tenant)


def test_a_nodes_heartbeat_asks_for_nothing_and_its_address_does() -> None:
    heartbeat = {"type": "Ready", "status": "True", "lastHeartbeatTime": "1"}
    node = {"kind": "Node", "metadata": {"name": "a"}, "status": {"conditions": [heartbeat], "addresses": []}}
    later = [{**heartbeat, "lastHeartbeatTime": "2"}]
    assert fingerprint(changed(node, "status/conditions", later)) == fingerprint(node)
    moved = [{"type": "InternalIP", "address": "198.18.1.9"}]
    assert fingerprint(changed(node, "status/addresses", moved)) != fingerprint(node)


def test_of_a_regions_status_only_its_trunks_ask_for_work() -> None:
    region = {"kind": "VoiceRegion", "metadata": {"name": "kyiv"}, "spec": {}, "status": {"members": "2/2"}}
    assert fingerprint(changed(region, "status/members", "1/2")) == fingerprint(region)
    assert fingerprint(changed(region, "status/trunks", [{"host": "198.18.1.150", "state": "Silent"}])) != fingerprint(
        region
    )
