"""The app's Service."""

from __future__ import annotations

from okitoki.api.tenant import Tenant
from okitoki.kube import names
from okitoki.kube.resources import Manifest
from okitoki.tenant.build.common import app_selector, metadata


def service(tenant: Tenant) -> Manifest:
    """HTTPS on 8443; the edge takes its back ends from this Service's EndpointSlices."""
    port = {"name": "https", "port": names.APP_PORT, "targetPort": names.APP_PORT, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(tenant, names.APP),
        "spec": {"type": "ClusterIP", "selector": app_selector(tenant), "ports": [port]},
    }
