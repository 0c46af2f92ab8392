"""What the operator tells this edge about its tenants: one labelled Secret each (docs/interfaces.md, "Region
namespace")."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from okitoki_agents.kube import Object

TENANT_LABEL = "platform.oki-toki.net/edge-tenant"
NUMBER = re.compile(r"\+[1-9][0-9]{1,14}")
"""E.164."""
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


STATES = ("Active", "Paused", "Restricted", "Suspended")
SERVED_STATES = ("Active", "Restricted")
"""In which API requests are let through; calls reach the tenant's phones, and these the region, only while Active."""


class TenantError(ValueError):
    """A tenant's document that cannot be used; the message names the field."""


@dataclass(frozen=True)
class EdgeTenant:
    """One tenant as this edge knows it. `numbers` are all that it may ever receive calls for; `landlines` are by number
    what is called instead, in order, when the tenant's site does not answer."""

    tenant: str
    host: str
    numbers: tuple[str, ...]
    namespace: str
    service: str
    port: int
    serverName: str
    edgeToken: str
    landlines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    state: str = "Active"

    @property
    def served(self) -> bool:
        """Whether API requests are let through, and incoming calls to somebody."""
        return self.state in SERVED_STATES

    @property
    def staffed(self) -> bool:
        """Whether the tenant's phones are let in; else incoming calls go to landlines at most."""
        return self.state == "Active"

    def __repr__(self) -> str:
        """Without the token: a tenant may land in a log line."""
        return f"EdgeTenant({self.tenant!r}, host={self.host!r})"

    def document(self) -> dict[str, Any]:
        """As in `tenant.json`."""
        landlines = {number: list(found) for number, found in self.landlines.items()}
        return asdict(self) | {"numbers": list(self.numbers), "landlines": landlines}


def parse_tenant(document: Any) -> EdgeTenant:
    """The tenant of a `tenant.json`.

    Everything here ends in HAProxy's or Kamailio's configuration, so nothing that is not exactly of its form gets past.
    Raises TenantError.
    """
    if not isinstance(document, dict):
        raise TenantError("tenant.json: not an object")

    def text(field: str, form: re.Pattern[str]) -> str:
        value = document.get(field)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise TenantError(f"tenant.json: {field}: expected {form.pattern}, found {value!r}")
        return value

    port, numbers, token = document.get("port"), document.get("numbers"), document.get("edgeToken")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise TenantError(f"tenant.json: port: expected 1 to 65535, found {port!r}")
    if not isinstance(numbers, list) or not all(isinstance(n, str) and NUMBER.fullmatch(n) for n in numbers):
        raise TenantError(f"tenant.json: numbers: expected a list of E.164 numbers, found {numbers!r}")
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]{16,}", token):
        raise TenantError("tenant.json: edgeToken: expected at least 16 printable characters")
    state = document.get("state", "Active")
    if state not in STATES:
        raise TenantError(f"tenant.json: state: expected one of {', '.join(STATES)}, found {state!r}")
    return EdgeTenant(
        tenant=text("tenant", DNS_LABEL),
        host=text("host", DNS_NAME),
        numbers=tuple(numbers),
        namespace=text("namespace", DNS_LABEL),
        service=text("service", DNS_LABEL),
        port=port,
        serverName=text("serverName", DNS_NAME),
        edgeToken=token,
        landlines=_landlines(document.get("landlines", {}), numbers),
        state=state,
    )


def _landlines(value: Any, numbers: list[str]) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise TenantError(f"tenant.json: landlines: expected an object, found {value!r}")
    for number, landlines in value.items():
        if number not in numbers:
            raise TenantError(f"tenant.json: landlines: {number!r} is not in numbers")
        if not isinstance(landlines, list) or not all(isinstance(n, str) and NUMBER.fullmatch(n) for n in landlines):
            raise TenantError(f"tenant.json: landlines.{number}: expected a list of E.164 numbers, found {landlines!r}")
    return {number: tuple(landlines) for number, landlines in value.items() if landlines}


def tenants_of_secrets(secrets: dict[str, Object]) -> tuple[dict[str, EdgeTenant], dict[str, str]]:
    """Usable tenants by name, and for the Secrets that are not usable the reason by the Secret's name.

    Two Secrets that claim one host: the first by name keeps it, since a later one must not take a running tenant's
    calls.
    """
    tenants: dict[str, EdgeTenant] = {}
    hosts: set[str] = set()
    errors: dict[str, str] = {}
    for name, secret in sorted(secrets.items()):
        if TENANT_LABEL not in secret["metadata"].get("labels", {}):
            continue
        try:
            tenant = parse_tenant(json.loads(base64.b64decode(secret["data"]["tenant.json"], validate=True)))
            if tenant.tenant != secret["metadata"]["labels"][TENANT_LABEL]:
                raise TenantError(f"tenant.json: tenant: {tenant.tenant!r} is not what the Secret's label says")
            if tenant.host in hosts:
                raise TenantError(f"tenant.json: host: {tenant.host!r} belongs to another tenant")
        except TenantError as error:
            errors[name] = str(error)
        except (KeyError, ValueError, binascii.Error, TypeError):
            errors[name] = "tenant.json: missing, or not JSON"
        else:
            tenants[tenant.tenant] = tenant
            hosts.add(tenant.host)
    return tenants, errors


def certificate_of_secret(secret: Object | None) -> bytes | None:
    """Certificate chain and key of a TLS Secret as one PEM file, the form in which HAProxy wants it; None without
    both."""
    data = (secret or {}).get("data") or {}
    try:
        chain, key = (base64.b64decode(data[name], validate=True) for name in ("tls.crt", "tls.key"))
    except (KeyError, binascii.Error):
        return None
    return chain.rstrip() + b"\n" + key.rstrip() + b"\n" if chain.strip() and key.strip() else None
