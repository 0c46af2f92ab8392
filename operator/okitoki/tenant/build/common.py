"""What the builders of a tenant's objects share."""

from __future__ import annotations

from typing import Any

from okitoki.api.tenant import Tenant, storage_bytes
from okitoki.database.spec import DatabaseCluster
from okitoki.kube import labels, names
from okitoki.tenant.facts import Observed


def metadata(tenant: Tenant, name: str, component: str | None = names.APP) -> dict[str, Any]:
    """`metadata` of an object in the tenant's namespace."""
    owner = tenant.metadata.name
    return {
        "name": name,
        "namespace": names.tenant_namespace(owner),
        "labels": labels.owned(component, tenant=owner),
    }


def app_selector(tenant: Tenant) -> dict[str, str]:
    """Labels that select the app's pods."""
    return labels.selector(names.APP, tenant=tenant.metadata.name)


def database_cluster(tenant: Tenant, observed: Observed) -> DatabaseCluster:
    """The tenant's database as its builders take it.

    The template of volumes cannot change once the StatefulSet exists: new members start with the old size and are grown
    like the others.
    """
    size = tenant.spec.database.storage.size
    return DatabaseCluster(
        tenant=tenant.metadata.name,
        namespace=names.tenant_namespace(tenant.metadata.name),
        operator_namespace=observed.settings.operator_namespace,
        instances=tenant.spec.database.instances,
        storage=observed.volumes.template_size or size,
        # What the volumes are, not what they shall be: settings derived from it must fit today.
        storage_bytes=min(observed.volumes.sizes.values(), default=storage_bytes(size)),
        image=observed.settings.postgres_image,
    )
