"""The edge: two pods on the host network of two nodes (docs/interfaces.md, "Region namespace")."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube import labels, names
from okitoki.kube.resources import PLATFORM_GROUP, Manifest
from okitoki.voiceregion.allocation import allocation
from okitoki.voiceregion.build.common import (
    EDGE,
    EDGE_SECRETS,
    REGION_CONFIG_MAP,
    REGION_FILE,
    edge_selector,
    metadata,
)
from okitoki.voiceregion.build.config_map import region_facts
from okitoki.voiceregion.facts import REPLICAS, Observed

REGION_HASH = f"{PLATFORM_GROUP}/region-hash"
DATA_PARENT = "/var/lib/okitoki"
"""Folder on each node in which every region has one (docs/decisions/0006-edge-data-on-the-node.md)."""
GRACE_SECONDS = 45
"""For giving the addresses away (20 s at most, usually one), then ending what is left."""

CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "redis": ("SYS_NICE",),
    "rtpengine-1": ("SYS_NICE",),
    "rtpengine-2": ("SYS_NICE",),
    "kamailio": ("SYS_NICE",),
    "haproxy": ("NET_BIND_SERVICE",),  # port 443
    # Addresses; VRRP is IP protocol 112, and gratuitous ARP; SETGID, or it complains at each of its checks.
    "keepalived": ("NET_ADMIN", "NET_RAW", "SETGID", "SYS_NICE"),
    "guard": ("NET_ADMIN", "SYS_NICE"),  # addresses, the nft table, ending the peer's half-open connections
    "agent": (),
    # Interface, routes and rules; MKNOD: /dev/net/tun of its own, where the kernel has no WireGuard.
    "tunnel": ("MKNOD", "NET_ADMIN", "SYS_NICE"),
}
"""All containers, and what each may do beyond an unprivileged process: everything else is dropped. SYS_NICE: adverts,
probes and audio that wait for the processor look like a dead node."""

REQUESTS: Mapping[str, tuple[str, str]] = {
    "redis": ("100m", "32Mi"),
    "rtpengine-1": ("100m", "64Mi"),
    "rtpengine-2": ("100m", "64Mi"),
    "kamailio": ("100m", "160Mi"),
    "haproxy": ("100m", "64Mi"),
    "keepalived": ("100m", "16Mi"),
    "guard": ("100m", "48Mi"),
    "agent": ("20m", "80Mi"),
    "tunnel": ("50m", "48Mi"),
}
"""CPU and memory. They use less at rest, but under load a request is a share of the processor, and with 10m a busy
node looks like a dead one. There are no CPU limits: a throttled relay is heard by everybody."""

TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/network-unavailable", "NoSchedule"),
)
"""As for a DaemonSet. A node that the API server cannot reach may still carry calls, and its edge would be killed on
its return; that the other node has taken over is VRRP's business. A dead node's pod is released by deleting the Node
or by the taint `node.kubernetes.io/out-of-service`, and then starts on a third one."""


def stateful_set(region: VoiceRegion, observed: Observed) -> Manifest:
    """`OnDelete`: when a pod gets a new template is decided in `rollout.py`."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(region, EDGE),
        "spec": {
            "replicas": REPLICAS,
            "serviceName": EDGE,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": edge_selector(region)},
            "template": _template(region, observed),
        },
    }


def data_folder(region: str, uid: str) -> str:
    """The region's folder on its nodes; another region of the same name later does not find its tokens."""
    return f"{DATA_PARENT}/edge-{region}-{uid[:8]}"


def _template(region: VoiceRegion, observed: Observed) -> dict[str, Any]:
    facts = json.dumps(region_facts(region, observed), sort_keys=True).encode()
    return {
        "metadata": {
            "labels": labels.owned(EDGE, region=region.metadata.name),
            "annotations": {REGION_HASH: hashlib.sha256(facts).hexdigest()[:16]},
        },
        "spec": {
            "serviceAccountName": names.EDGE_SERVICE_ACCOUNT,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # Before anything else on the node gives way; a node without room for calls is of no use to the region.
            "priorityClassName": "system-node-critical",
            "hostNetwork": True,
            "dnsPolicy": "ClusterFirstWithHostNet",
            "shareProcessNamespace": True,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "nodeSelector": dict(region.spec.node_selector),
            "affinity": {"podAntiAffinity": _apart(region)},
            "tolerations": [{"key": key, "operator": "Exists", "effect": effect} for key, effect in TOLERATED],
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [_host_setup(observed.image)],
            "containers": [_container(region, observed, name) for name in CAPABILITIES],
            "volumes": _volumes(region),
        },
    }


def _apart(region: VoiceRegion) -> dict[str, Any]:
    """Never both on one node. Regions may share a node: they share no port, address or router id (`allocation.py`)."""
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": edge_selector(region)}}
        ]
    }


def _host_setup(image: str) -> dict[str, Any]:
    """Sysctls of the node: the only privileged container, and it ends before the others start."""
    return {
        "name": "host-setup",
        "image": image,
        "args": ["host-setup"],
        "command": ["okitoki-edge"],
        "securityContext": {"privileged": True, "readOnlyRootFilesystem": True},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }


def _container(region: VoiceRegion, observed: Observed, name: str) -> dict[str, Any]:
    cpu, memory = REQUESTS[name]
    container: dict[str, Any] = {
        "name": name,
        "image": observed.image,
        "command": ["okitoki-edge"],
        "args": ["run", name],
        "env": _environment(),
        "securityContext": _security(CAPABILITIES[name]),
        "resources": {"requests": {"cpu": cpu, "memory": memory}},
        "volumeMounts": _mounts(),
        "lifecycle": {
            "preStop": {"exec": {"command": ["okitoki-edge", "drain" if name == "guard" else "wait-drained"]}}
        },
    }
    if name == "tunnel":
        # Where wireguard-go makes its command socket.
        socket = {"name": "run", "mountPath": "/run/wireguard", "subPath": "wireguard"}
        container["volumeMounts"] = [*container["volumeMounts"], socket]
    if name == "agent":
        container |= _agent_extras(region, observed)
        container["volumeMounts"] = [
            *container["volumeMounts"],
            {"name": "api-token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True},
        ]
    return container


def _agent_extras(region: VoiceRegion, observed: Observed) -> dict[str, Any]:
    """The pod is ready when its node could take all addresses. The other containers are watched by the guard."""
    port = allocation(observed.slot).ports["agent"]
    return {
        "ports": [{"name": "agent", "containerPort": port, "hostPort": port, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": port},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": port},
            "initialDelaySeconds": 10,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    }


def _security(capabilities: tuple[str, ...]) -> dict[str, Any]:
    dropped: dict[str, Any] = {"drop": ["ALL"]}
    if capabilities:
        dropped["add"] = list(capabilities)
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": dropped}


def _environment() -> list[dict[str, Any]]:
    fields = {"NODE_IP": "status.hostIP", "POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}
    keys = {"REDIS_PASSWORD": "redis-password", "NONCE_SECRET": "nonce-secret"}
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": EDGE_SECRETS, "key": key}}}
            for name, key in keys.items()
        ),
    ]


def _mounts() -> list[dict[str, Any]]:
    return [
        {"name": "data", "mountPath": "/var/lib/edge"},
        {"name": "run", "mountPath": "/run/edge"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
        # As a file of its own it stays as it was at the start; a change comes with a new pod.
        {"name": "region", "mountPath": f"/etc/okitoki/{REGION_FILE}", "subPath": REGION_FILE, "readOnly": True},
        {"name": "ca", "mountPath": "/etc/okitoki/ca", "readOnly": True},
    ]


def _volumes(region: VoiceRegion) -> list[dict[str, Any]]:
    folder = data_folder(region.metadata.name, region.metadata.uid)
    return [
        {"name": "data", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}},
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "region", "configMap": {"name": REGION_CONFIG_MAP}},
        {"name": "ca", "configMap": {"name": names.CA_CONFIG_MAP}},
        {
            "name": "api-token",
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                ]
            },
        },
    ]
