"""Random values and certificates of a tenant: made once, kept for ever (but certificates, which are renewed)."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from okitoki.api.tenant import Tenant
from okitoki.kube import labels, names
from okitoki.kube.pki import Authority
from okitoki.tenant.facts import ADMIN_KEYS, APP_KEYS, DATABASE_KEYS, Observed, Values, hosts

_ALPHANUMERIC = string.ascii_letters + string.digits


def token() -> str:
    """256 random bits, without characters that need quoting anywhere."""
    return secrets.token_hex(32)


def api_key() -> str:
    """An API key of the app: `otk_PREFIX_SECRET` with 8 letters or digits and 32 random bytes in base64url."""
    prefix = "".join(secrets.choice(_ALPHANUMERIC) for _ in range(8))
    return f"otk_{prefix}_{secrets.token_urlsafe(32)}"


def fill(tenant: Tenant, observed: Observed, authority: Authority, now: datetime) -> Observed:
    """`observed` with what is missing generated; what exists is never changed.

    The database's passwords are not made anew while a database exists that was made with others.
    """
    found = observed.secrets
    certificate_names = app_certificate_names(tenant, observed)
    requested = tenant.metadata.annotations.get(labels.RENEW_CERTIFICATE, "")
    tls = found.tls
    if tls is None or authority.unfit(tls, certificate_names, now, requested):
        tls = authority.issue(certificate_names, now)
    filled = replace(
        found,
        database=found.database if observed.passwords_lost else _filled(found.database, DATABASE_KEYS, token),
        app=_filled(found.app, APP_KEYS, token),
        admin=_filled(found.admin, ADMIN_KEYS, api_key),
        tls=tls,
    )
    return replace(observed, secrets=filled)


def app_certificate_names(tenant: Tenant, observed: Observed) -> list[str]:
    """Names in the app's certificate: its Service, and the tenant's host in each region."""
    namespace = names.tenant_namespace(tenant.metadata.name)
    return [names.service_host(names.APP, namespace), *hosts(tenant, observed)]


def _filled(found: Values, keys: tuple[str, ...], make: Callable[[], str]) -> Values:
    return {**{key: make() for key in keys if key not in found}, **found}
