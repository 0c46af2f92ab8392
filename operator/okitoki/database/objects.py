"""The small objects around the members: configuration, Services, disruption budget, access rights, network policy."""

from __future__ import annotations

from okitoki.database.spec import ROLE_LABEL, SCOPE, SCOPE_LABEL, DatabaseCluster, dynamic_configuration
from okitoki.kube import labels, names
from okitoki.kube.resources import Manifest
from okitoki.templates import render

CONFIG = "postgres-settings"
CONFIG_FILE = "patroni.yaml"


def config_map(cluster: DatabaseCluster) -> Manifest:
    """Patroni's local configuration."""
    text = render(
        "patroni.yaml.j2",
        scope=SCOPE,
        scope_label=SCOPE_LABEL,
        role_label=ROLE_LABEL,
        # Also what Patroni labels its own ConfigMaps with: without managed-by, or they would be watched and pruned.
        labels=cluster.selector(),
        rest_port=names.PATRONI_PORT,
        postgres_port=names.POSTGRES_PORT,
        dynamic=dynamic_configuration(cluster),
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": cluster.metadata(CONFIG),
        "data": {CONFIG_FILE: text},
    }


def services(cluster: DatabaseCluster) -> list[Manifest]:
    """The headless Service of the StatefulSet, and one Service with an address of its own per member.

    The latter spare the app a look-up of changing pod addresses: a member's address stays while its pod moves.
    """
    headless = _service(cluster, names.POSTGRES, cluster.selector())
    headless["spec"]["clusterIP"] = "None"
    return [headless, *(_service(cluster, name, _pod_selector(cluster, name)) for name in cluster.members)]


def disruption_budget(cluster: DatabaseCluster) -> Manifest:
    """A drain takes one member at a time; two of three keep the quorum."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": cluster.metadata(names.POSTGRES),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": cluster.selector()},
            # A member that is broken anyway must not block a drain.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def service_account(cluster: DatabaseCluster) -> Manifest:
    """The identity of the members towards the API server."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": cluster.metadata(names.POSTGRES)}


def role(cluster: DatabaseCluster) -> Manifest:
    """What Patroni needs: its ConfigMaps, and labels and annotations of its pods."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": cluster.metadata(names.POSTGRES),
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "verbs": ["create", "get", "list", "watch", "patch", "update", "delete", "deletecollection"],
            },
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch", "update"]},
        ],
    }


def role_binding(cluster: DatabaseCluster) -> Manifest:
    """Gives the members their role."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": cluster.metadata(names.POSTGRES),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": names.POSTGRES},
        "subjects": [{"kind": "ServiceAccount", "name": names.POSTGRES, "namespace": cluster.namespace}],
    }


def network_policy(cluster: DatabaseCluster) -> Manifest:
    """Who may reach the members: the tenant's app and the members themselves; Patroni's REST API and the
    members' agents also the operator."""
    members = {"podSelector": {"matchLabels": cluster.selector()}}
    app = {"podSelector": {"matchLabels": labels.selector(names.APP, tenant=cluster.tenant)}}
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster.operator_namespace}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": cluster.metadata(names.POSTGRES),
        "spec": {
            "podSelector": {"matchLabels": cluster.selector()},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [members, app], "ports": [{"protocol": "TCP", "port": names.POSTGRES_PORT}]},
                {"from": [members, operator], "ports": [{"protocol": "TCP", "port": names.PATRONI_PORT}]},
                {"from": [members, operator], "ports": [{"protocol": "TCP", "port": names.DATABASE_AGENT_PORT}]},
            ],
        },
    }


def _pod_selector(cluster: DatabaseCluster, pod: str) -> dict[str, str]:
    return {**cluster.selector(), "statefulset.kubernetes.io/pod-name": pod}


def _service(cluster: DatabaseCluster, name: str, selector: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": cluster.metadata(name),
        "spec": {
            # Members find each other, and the app probes them, before they are ready.
            "publishNotReadyAddresses": True,
            "selector": selector,
            "ports": [
                {
                    "name": "postgres",
                    "port": names.POSTGRES_PORT,
                    "targetPort": names.POSTGRES_PORT,
                    "protocol": "TCP",
                },
                {"name": "patroni", "port": names.PATRONI_PORT, "targetPort": names.PATRONI_PORT, "protocol": "TCP"},
            ],
        },
    }
