"""The tenant's share of its regions' edge: what the edge is told, and what it may read."""

from __future__ import annotations

import json

from okitoki.api.tenant import Tenant
from okitoki.kube import labels, names
from okitoki.kube.pki import encode
from okitoki.kube.resources import Manifest
from okitoki.tenant.build.common import metadata
from okitoki.tenant.facts import Observed, RegionFacts, accepted_numbers, landlines


def edge_secrets(tenant: Tenant, observed: Observed) -> list[Manifest]:
    """One Secret in the namespace of each region that is there."""
    return [_edge_secret(tenant, observed, region) for region in observed.regions if region.namespace_ready]


def edge_role(tenant: Tenant) -> Manifest:
    """The edge watches which pods of the app are ready."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(tenant, names.EDGE_SERVICE_ACCOUNT, "edge"),
        "rules": [
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}
        ],
    }


def edge_role_binding(tenant: Tenant) -> Manifest:
    """For the edges of the tenant's regions."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(tenant, names.EDGE_SERVICE_ACCOUNT, "edge"),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": names.EDGE_SERVICE_ACCOUNT},
        "subjects": [
            {
                "kind": "ServiceAccount",
                "name": names.EDGE_SERVICE_ACCOUNT,
                "namespace": names.region_namespace(region),
            }
            for region in sorted(tenant.spec.regions)
        ],
    }


def _edge_secret(tenant: Tenant, observed: Observed, region: RegionFacts) -> Manifest:
    name = tenant.metadata.name
    namespace = names.tenant_namespace(name)
    facts = {
        "tenant": name,
        "state": tenant.spec.state,
        "host": names.tenant_host(name, region.domain),
        "numbers": sorted(number.number for number in accepted_numbers(tenant, observed)),
        "landlines": landlines(tenant, observed),
        "namespace": namespace,
        "service": names.APP,
        "port": names.APP_PORT,
        "serverName": names.service_host(names.APP, namespace),
        "edgeToken": observed.secrets.app["edge-token"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.edge_tenant_secret(name),
            "namespace": region.namespace,
            # The tenant's, not the region's: the region's reconcile must not prune it.
            "labels": {**labels.owned("edge", tenant=name), labels.EDGE_TENANT: name},
        },
        "type": "Opaque",
        "data": {"tenant.json": encode(json.dumps(facts, indent=1))},
    }
