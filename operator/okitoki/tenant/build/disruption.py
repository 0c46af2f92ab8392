"""The app's disruption budget."""

from __future__ import annotations

from okitoki.api.tenant import Tenant
from okitoki.kube import names
from okitoki.kube.resources import Manifest
from okitoki.tenant.build.common import app_selector, metadata


def disruption_budget(tenant: Tenant) -> Manifest:
    """One pod at a time; it never blocks a drain for good, not even with a single replica or a broken one."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(tenant, names.APP),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": app_selector(tenant)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
