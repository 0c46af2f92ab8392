"""The tenant's Secrets and the platform's CA certificate."""

from __future__ import annotations

from okitoki.api.tenant import Tenant
from okitoki.kube import names
from okitoki.kube.pki import encode
from okitoki.kube.resources import Manifest
from okitoki.tenant.build.common import metadata
from okitoki.tenant.facts import Observed, Values


def database_credentials(tenant: Tenant, observed: Observed) -> Manifest:
    """Passwords of the database's roles and of Patroni's REST API."""
    return _secret(tenant, names.POSTGRES_CREDENTIALS, names.POSTGRES, observed.secrets.database)


def app_secrets(tenant: Tenant, observed: Observed) -> Manifest:
    """Tokens by which the operator and the edge are known to the app."""
    return _secret(tenant, names.APP_SECRETS, names.APP, observed.secrets.app)


def api_admin(tenant: Tenant, observed: Observed) -> Manifest:
    """The tenant's first API key."""
    return _secret(tenant, names.API_ADMIN, names.APP, observed.secrets.admin)


def app_tls(tenant: Tenant, observed: Observed) -> Manifest:
    """The app's certificate."""
    pair = observed.secrets.tls
    if pair is None:
        raise ValueError("the app's certificate was not prepared")
    values = {"tls.crt": pair.certificate, "tls.key": pair.key}
    return {**_secret(tenant, names.APP_TLS, names.APP, values), "type": "kubernetes.io/tls"}


def ca_certificate(tenant: Tenant, observed: Observed) -> Manifest:
    """What clients in the namespace check certificates with."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(tenant, names.CA_CONFIG_MAP, None),
        "data": {"ca.crt": observed.settings.authorities.bundle},
    }


def _secret(tenant: Tenant, name: str, component: str, values: Values) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(tenant, name, component),
        "type": "Opaque",
        "data": {key: encode(value) for key, value in sorted(values.items())},
    }
