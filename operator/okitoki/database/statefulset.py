"""The StatefulSet of the members."""

from __future__ import annotations

from typing import Any

from okitoki.database.objects import CONFIG, CONFIG_FILE
from okitoki.database.spec import DATA_VOLUME, SCOPE, SCOPE_LABEL, UID, DatabaseCluster
from okitoki.kube import names
from okitoki.kube.pods import restricted_container, restricted_pod
from okitoki.kube.resources import Manifest

FENCE = {"name": DATA_VOLUME, "subPath": "fence", "mountPath": "/run/okitoki"}
"""The agent's fence is kept with the data that it protects: a new pod of the member is cut off as the old one was
(docs/decisions/0008)."""
TERMINATION_SECONDS = 90
"""For the hand-over (a checkpoint while writes go on, then about a second) and a fast shutdown after it."""
HANDOVER = {"preStop": {"exec": {"command": ["okitoki-database", "handover"]}}}
"""A primary gives its role away before it stops, without the operator. The agent's own container waits for it too."""


def stateful_set(cluster: DatabaseCluster, replicas: int | None = None) -> Manifest:
    """Members on different nodes, started together; Patroni decides who leads. `replicas`: how many run now (all)."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": cluster.metadata(names.POSTGRES),
        "spec": {
            "serviceName": names.POSTGRES,
            "replicas": cluster.instances if replicas is None else replicas,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": cluster.selector()},
            "template": {
                "metadata": {"labels": {**cluster.labels(), SCOPE_LABEL: SCOPE}},
                "spec": _pod(cluster),
            },
            "volumeClaimTemplates": [_volume_claim(cluster)],
        },
    }


def _pod(cluster: DatabaseCluster) -> dict[str, Any]:
    return {
        "serviceAccountName": names.POSTGRES,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": TERMINATION_SECONDS,
        # fsGroup: where the provisioner applies it, the volume is ours. Where not (local-path: root, 0777), the data
        # lives in a subdirectory of our own.
        "securityContext": restricted_pod(UID),
        # The agent stops and continues processes of the server; it is the same user in the same process namespace.
        "shareProcessNamespace": True,
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {"matchLabels": cluster.selector()}, "topologyKey": "kubernetes.io/hostname"}
                ]
            }
        },
        "containers": [_container(cluster), _agent(cluster)],
        "volumes": [
            {"name": "settings", "configMap": {"name": CONFIG}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "run", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "128Mi"}},
        ],
    }


def _container(cluster: DatabaseCluster) -> dict[str, Any]:
    return {
        "name": "postgres",
        "image": cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["patroni", f"/etc/patroni/{CONFIG_FILE}"],
        "env": _environment(),
        "ports": [
            {"name": "postgres", "containerPort": names.POSTGRES_PORT, "protocol": "TCP"},
            {"name": "patroni", "containerPort": names.PATRONI_PORT, "protocol": "TCP"},
        ],
        "lifecycle": HANDOVER,
        "livenessProbe": _probe("/liveness", names.PATRONI_PORT, period=10, failures=6),
        "readinessProbe": _probe("/readiness", names.PATRONI_PORT, period=3, failures=3),
        # Shares under load: what is starved looks dead, and a failover is work for all three members at once.
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": restricted_container(),
        "volumeMounts": [
            {"name": DATA_VOLUME, "mountPath": "/var/lib/postgresql/data"},
            {"name": "settings", "mountPath": "/etc/patroni", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "run", "mountPath": "/var/run/postgresql"},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
            {**FENCE, "readOnly": True},
        ],
    }


def _agent(cluster: DatabaseCluster) -> dict[str, Any]:
    """Watches the primary with the other members' agents and has it replaced when it is dead or frozen."""
    return {
        "name": "agent",
        "image": cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["okitoki-database"],
        "env": [
            _from_field("PATRONI_NAME", "metadata.name"),
            _from_field("PATRONI_KUBERNETES_NAMESPACE", "metadata.namespace"),
            _from_secret("PATRONI_REPLICATION_PASSWORD", "replication-password"),
            _from_secret("PATRONI_RESTAPI_PASSWORD", "rest-password"),
        ],
        "ports": [{"name": "agent", "containerPort": names.DATABASE_AGENT_PORT, "protocol": "TCP"}],
        "lifecycle": HANDOVER,
        "livenessProbe": _probe("/healthz", names.DATABASE_AGENT_PORT, period=10, failures=3),
        # It must get the processor when a starved one looks like a dead primary.
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "192Mi"}},
        "securityContext": restricted_container(),
        "volumeMounts": [
            # The subdirectory where local-path leaves the volume's root to root; what it reads there is configuration.
            {"name": DATA_VOLUME, "mountPath": "/var/lib/postgresql/data", "readOnly": True},
            {"name": "run", "mountPath": "/var/run/postgresql"},
            FENCE,
        ],
    }


def _environment() -> list[dict[str, Any]]:
    # Members name each other by pod address: replication and failover then need no DNS.
    return [
        _from_field("PATRONI_NAME", "metadata.name"),
        _from_field("PATRONI_KUBERNETES_NAMESPACE", "metadata.namespace"),
        _from_field("POD_IP", "status.podIP"),
        {"name": "PATRONI_POSTGRESQL_CONNECT_ADDRESS", "value": f"$(POD_IP):{names.POSTGRES_PORT}"},
        {"name": "PATRONI_RESTAPI_CONNECT_ADDRESS", "value": f"$(POD_IP):{names.PATRONI_PORT}"},
        _from_secret("PATRONI_SUPERUSER_PASSWORD", "superuser-password"),
        _from_secret("PATRONI_REPLICATION_PASSWORD", "replication-password"),
        _from_secret("PATRONI_RESTAPI_PASSWORD", "rest-password"),
        _from_secret("APP_PASSWORD", "app-password"),
    ]


def _from_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _from_secret(name: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": names.POSTGRES_CREDENTIALS, "key": key}}}


def _probe(path: str, port: int, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }


def _volume_claim(cluster: DatabaseCluster) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": DATA_VOLUME, "labels": cluster.labels()},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": cluster.storage}},
        },
    }
