"""Everything a tenant is made of, in the order in which it is applied. Pure."""

from __future__ import annotations

from okitoki.api.tenant import Tenant
from okitoki.database import objects as database
from okitoki.database.statefulset import stateful_set
from okitoki.kube.resources import Manifest
from okitoki.tenant.build import secrets
from okitoki.tenant.build.common import database_cluster
from okitoki.tenant.build.deployment import deployment
from okitoki.tenant.build.disruption import disruption_budget
from okitoki.tenant.build.edge import edge_role, edge_role_binding, edge_secrets
from okitoki.tenant.build.namespace import adopted_namespace, namespace
from okitoki.tenant.build.network import app_policy, default_deny
from okitoki.tenant.build.service import service
from okitoki.tenant.facts import Observed
from okitoki.tenant.hibernation import running
from okitoki.tenant.retention import adoption, nothing_to_adopt


def withheld(tenant: Tenant, observed: Observed) -> bool:
    """Whether the namespace is not ours to fill."""
    return observed.namespace in ("foreign", "terminating") or nothing_to_adopt(tenant, observed)


def build(tenant: Tenant, observed: Observed) -> list[Manifest]:
    """The wanted objects; none while the namespace is not ours to fill.

    Policies come before the pods they protect, secrets before those who read them.
    """
    name, uid = tenant.metadata.name, tenant.metadata.uid
    if observed.retained and adoption(tenant, observed.retained).granted:
        # Alone: what the namespace holds is read, passwords above all, once it is this tenant's.
        return [adopted_namespace(name, uid, observed.retained.namespace_uid)]
    if withheld(tenant, observed):
        return []
    cluster = database_cluster(tenant, observed)
    return [
        namespace(name, uid),
        default_deny(tenant),
        app_policy(tenant, observed),
        database.network_policy(cluster),
        *([] if observed.passwords_lost else [secrets.database_credentials(tenant, observed)]),
        secrets.app_secrets(tenant, observed),
        secrets.api_admin(tenant, observed),
        secrets.app_tls(tenant, observed),
        secrets.ca_certificate(tenant, observed),
        database.service_account(cluster),
        database.role(cluster),
        database.role_binding(cluster),
        database.config_map(cluster),
        *database.services(cluster),
        database.disruption_budget(cluster),
        stateful_set(cluster, running(tenant, observed).database),
        service(tenant),
        disruption_budget(tenant),
        # Without the passwords its pods could not start; those that run know them.
        *([] if observed.passwords_lost else [deployment(tenant, observed)]),
        edge_role(tenant),
        edge_role_binding(tenant),
        *edge_secrets(tenant, observed),
    ]
