"""The kind configuration is one and the same on both paths, except for where images come from."""

from typing import Any

import yaml

from okitoki_local.kindconfig import POD_SUBNET, SERVICE_SUBNET, cluster_config


def without_images(config: dict[str, Any]) -> dict[str, Any]:
    nodes = [{key: value for key, value in node.items() if key != "image"} for node in config["nodes"]]
    networking = {key: value for key, value in config["networking"].items() if key != "apiServerPort"}
    rest = {key: value for key, value in config.items() if key != "kubeadmConfigPatches"}
    return {**rest, "nodes": nodes, "networking": networking}


def test_one_control_plane_and_two_regions_of_two_workers_each_in_a_zone() -> None:
    nodes = cluster_config("node:tag")["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane"] + ["worker"] * 4
    workers = [node["labels"] for node in nodes[1:]]
    assert [labels["topology.kubernetes.io/region"] for labels in workers] == ["kyiv", "kyiv", "lviv", "lviv"]
    assert [labels["topology.kubernetes.io/zone"] for labels in workers] == ["a", "b", "c", "d"]


def test_pods_and_services_have_their_ranges_and_the_network_is_kube_routers() -> None:
    networking = cluster_config(None)["networking"]
    assert networking["podSubnet"] == POD_SUBNET == "198.19.0.0/17"
    assert networking["serviceSubnet"] == SERVICE_SUBNET == "198.19.128.0/17"
    assert networking["disableDefaultCNI"] is True
    assert networking["kubeProxyMode"] == "nftables"


def test_the_stock_path_names_no_image_and_is_otherwise_the_same_cluster() -> None:
    stock, private = cluster_config(None), cluster_config("node:tag")
    assert not [node for node in stock["nodes"] if "image" in node]
    assert {node["image"] for node in private["nodes"]} == {"node:tag"}
    assert without_images(private) == without_images(stock)


def test_patches_are_yaml_without_aliases_for_kubeadm() -> None:
    (patch,) = cluster_config("node:tag")["kubeadmConfigPatches"]
    assert "&" not in patch
    assert yaml.safe_load(patch)["kind"] == "ClusterConfiguration"
