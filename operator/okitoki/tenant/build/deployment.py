"""The Deployment of the call-centre app."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from okitoki.api.tenant import Tenant
from okitoki.kube import labels, names
from okitoki.kube.pods import restricted_container, restricted_pod
from okitoki.kube.resources import PLATFORM_GROUP, Manifest
from okitoki.tenant.build.common import app_selector, database_cluster, metadata
from okitoki.tenant.facts import Observed
from okitoki.tenant.hibernation import running

UID = 10001
SECRETS_HASH = f"{PLATFORM_GROUP}/secrets-hash"
DRAIN_SECONDS = 5
"""Time for the edge to see that a pod is going (EndpointSlice, then HAProxy) before it stops to listen."""
NODE_LOST_SECONDS = 30
"""The app keeps nothing: a pod on a lost node is replaced after this, not after Kubernetes' five minutes."""


def deployment(tenant: Tenant, observed: Observed) -> Manifest:
    """Pods spread over nodes; an update takes none away before its successor is ready."""
    name = tenant.metadata.name
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(tenant, names.APP),
        "spec": {
            "replicas": running(tenant, observed).app,
            "revisionHistoryLimit": 3,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": app_selector(tenant)},
            "template": {
                "metadata": {
                    "labels": labels.owned(names.APP, tenant=name),
                    "annotations": {SECRETS_HASH: secrets_hash(observed)},
                },
                "spec": _pod(tenant, observed),
            },
        },
    }


def secrets_hash(observed: Observed) -> str:
    """Changes when a value changes that the app reads only at its start: then its pods are replaced, one by one.

    The certificate is none of them: the app reads it again when it changes. All are random with 256 bits, so a hash
    says nothing about them.
    """
    found = observed.secrets
    values = [
        found.database.get("app-password"),
        dict(found.app),
        dict(found.admin),
    ]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _pod(tenant: Tenant, observed: Observed) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": restricted_pod(UID),
        "topologySpreadConstraints": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "maxSkew": 1,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": app_selector(tenant)},
                # A lost node must not count as one with room, nor an update's old pods as its new ones.
                "nodeTaintsPolicy": "Honor",
                "matchLabelKeys": ["pod-template-hash"],
            }
        ],
        "tolerations": [_toleration(key) for key in ("not-ready", "unreachable")],
        "containers": [_container(tenant, observed)],
        "volumes": [
            {"name": "tls", "secret": {"secretName": names.APP_TLS, "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _toleration(key: str) -> dict[str, Any]:
    return {
        "key": f"node.kubernetes.io/{key}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": NODE_LOST_SECONDS,
    }


def _container(tenant: Tenant, observed: Observed) -> dict[str, Any]:
    return {
        "name": "app",
        "image": observed.settings.app_image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(tenant, observed),
        "ports": [{"name": "https", "containerPort": names.APP_PORT, "protocol": "TCP"}],
        # Not before it listens does liveness count: the first start waits for the database and migrates.
        "startupProbe": _probe("/healthz", period=2, failures=60),
        "livenessProbe": _probe("/healthz", period=10, failures=3),
        "readinessProbe": _probe("/readyz", period=2, failures=3),
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": restricted_container(),
        "volumeMounts": [
            {"name": "tls", "mountPath": "/etc/tls", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }


def _environment(tenant: Tenant, observed: Observed) -> list[dict[str, Any]]:
    members = database_cluster(tenant, observed).members
    plain = {
        "TENANT_NAME": tenant.metadata.name,
        "DB_MEMBERS": ",".join(f"{member}:{names.POSTGRES_PORT}" for member in members),
        "DB_NAME": "callcentre",
        "DB_USER": "app",
        "TLS_CERT_FILE": "/etc/tls/tls.crt",
        "TLS_KEY_FILE": "/etc/tls/tls.key",
        "PORT": str(names.APP_PORT),
    }
    secret = {
        "DB_PASSWORD": (names.POSTGRES_CREDENTIALS, "app-password"),
        "PLATFORM_TOKEN": (names.APP_SECRETS, "platform-token"),
        "EDGE_TOKEN": (names.APP_SECRETS, "edge-token"),
        "ADMIN_API_KEY": (names.API_ADMIN, "key"),
    }
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": source, "key": key}}}
            for name, (source, key) in secret.items()
        ),
    ]


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": names.APP_PORT, "scheme": "HTTPS"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 3,
    }
