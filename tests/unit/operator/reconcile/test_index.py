"""What is kept of Tenants, VoiceRegions and Nodes, and who shares a number."""

from __future__ import annotations

from typing import Any

from okitoki.reconcile.index import Index


def a_tenant(name: str, *numbers: str) -> dict[str, Any]:
    return {
        "apiVersion": "platform.oki-toki.net/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name, "uid": f"uid-{name}", "managedFields": [{}], "annotations": {"a": "b"}},
        "spec": {"numbers": [{"number": number} for number in numbers]},
        "status": {"conditions": []},
    }


def test_no_more_is_kept_than_is_asked_for() -> None:
    index = Index()
    index.put(a_tenant("acme", "+1"))
    assert index.tenants["acme"] == {
        "apiVersion": "platform.oki-toki.net/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": "acme", "uid": "uid-acme"},
        "spec": {"numbers": [{"number": "+1"}]},
    }


def test_of_a_region_the_status_is_kept_because_it_concerns_tenants() -> None:
    index = Index()
    status = {"trunks": [{"host": "198.18.1.150", "state": "Silent"}]}
    region = {"kind": "VoiceRegion", "metadata": {"name": "kyiv", "managedFields": []}, "spec": {}, "status": status}
    index.put(region)
    assert index.regions["kyiv"] == {"kind": "VoiceRegion", "metadata": {"name": "kyiv"}, "spec": {}, "status": status}


def test_of_a_node_labels_addresses_and_pod_ranges_are_kept() -> None:
    index = Index()
    addresses = [{"type": "InternalIP", "address": "198.18.1.2"}]
    status = {"addresses": addresses, "images": [{}], "conditions": [{}]}
    metadata = {"name": "a", "labels": {"region": "kyiv"}, "annotations": {}}
    index.put({"kind": "Node", "metadata": metadata, "spec": {"podCIDRs": ["198.19.0.0/24"]}, "status": status})
    assert index.nodes["a"] == {
        "kind": "Node",
        "metadata": {"name": "a", "labels": {"region": "kyiv"}},
        "spec": {"podCIDRs": ["198.19.0.0/24"]},
        "status": {"addresses": addresses},
    }
    index.drop("Node", "a")
    assert not index.nodes


def test_who_shares_a_number_follows_every_change() -> None:
    index = Index()
    older, newer = a_tenant("older", "+1", "+2"), a_tenant("newer", "+2", "+3")
    index.put(older)
    index.put(newer)
    index.put(a_tenant("other", "+4"))
    assert index.sharing_numbers(newer) == ["newer", "older"]
    index.put(a_tenant("older", "+1"))
    assert index.sharing_numbers(newer) == ["newer"]
    assert index.sharing_numbers(older) == ["newer", "older"]
    index.drop("Tenant", "newer")
    index.drop("Tenant", "newer")
    assert index.sharing_numbers(newer) == []
    assert index.sharing_numbers(a_tenant("stranger", "+1")) == ["older"]
