"""The kind cluster's configuration: the same with and without a registry, except for where images come from."""

from __future__ import annotations

from typing import Any

import yaml

POD_SUBNET = "198.19.0.0/17"
SERVICE_SUBNET = "198.19.128.0/17"
REGION_OF_ZONE = {"a": "kyiv", "b": "kyiv", "c": "lviv", "d": "lviv"}
PRIVATE_API_PORT = 6443


def cluster_config(image: str | None) -> dict[str, Any]:
    """The configuration for `kind create cluster`; `image` is the node image built here, None for kind's own."""
    nodes: list[dict[str, Any]] = [{"role": "control-plane"}]
    nodes += [{"role": "worker", "labels": worker_labels(zone)} for zone in REGION_OF_ZONE]
    networking: dict[str, Any] = {
        "disableDefaultCNI": True,  # kindnet cannot be built from Go modules; kube-router serves both paths
        "kubeProxyMode": "nftables",
        "podSubnet": POD_SUBNET,
        "serviceSubnet": SERVICE_SUBNET,
    }
    config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "networking": networking, "nodes": nodes}
    if image is not None:
        for node in nodes:
            node["image"] = image
        # The private namespace has all ports to itself, and a fixed one survives being looked up twice.
        networking["apiServerPort"] = PRIVATE_API_PORT
        config["kubeadmConfigPatches"] = [yaml.safe_dump(relaxed_control_plane())]
    return config


def worker_labels(zone: str) -> dict[str, str]:
    """Two regions of two workers: a VoiceRegion takes both nodes of one, and tests have the other to themselves."""
    return {"topology.kubernetes.io/region": REGION_OF_ZONE[zone], "topology.kubernetes.io/zone": zone}


def relaxed_control_plane() -> dict[str, Any]:
    """Settings for two busy cores.

    There is one control plane, so electing leaders only lets a slow moment end the controllers. A cluster here is made
    anew rather than recovered, so etcd need not wait for the disk.
    """
    return {
        "apiVersion": "kubeadm.k8s.io/v1beta3",  # what kind writes for Kubernetes below 1.36
        "kind": "ClusterConfiguration",
        "controllerManager": {"extraArgs": {"leader-elect": "false"}},
        "scheduler": {"extraArgs": {"leader-elect": "false"}},
        "etcd": {"local": {"extraArgs": {"unsafe-no-fsync": "true"}}},
    }
