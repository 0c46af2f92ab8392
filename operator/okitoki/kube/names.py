"""Every name of an object that another part relies on (docs/interfaces.md)."""

from __future__ import annotations

CA_SECRET = "okitoki-ca"  # noqa: S105 - a name
CA_CONFIG_MAP = "okitoki-ca"
LEASE_NAME = "okitoki-operator"

APP = "app"
APP_PORT = 8443
APP_SECRETS = "app-secrets"
APP_TLS = "app-tls"
API_ADMIN = "api-admin"

POSTGRES = "postgres"
POSTGRES_PORT = 5432
PATRONI_PORT = 8008
DATABASE_AGENT_PORT = 8009
POSTGRES_CREDENTIALS = "postgres-credentials"

EDGE_SERVICE_ACCOUNT = "edge"


def tenant_namespace(tenant: str) -> str:
    """The namespace a Tenant owns."""
    return f"tenant-{tenant}"


def region_namespace(region: str) -> str:
    """The namespace a VoiceRegion owns."""
    return f"okitoki-region-{region}"


def edge_tenant_secret(tenant: str) -> str:
    """The Secret in a region's namespace that tells the edge about a tenant."""
    return f"edge-tenant-{tenant}"


def tenant_host(tenant: str, domain: str) -> str:
    """A tenant's host name in a region: SIP domain and HTTPS host."""
    return f"{tenant}.{domain}"


def service_host(service: str, namespace: str) -> str:
    """A Service's name in the cluster's DNS, without the cluster's domain (it differs between clusters)."""
    return f"{service}.{namespace}.svc"
