"""The app's settings: environment variables by the names of docs/interfaces.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from callcentre.credentials import ApiKey
from callcentre.database.connection import Login
from callcentre.database.members import Member, parse_members


class SettingsError(Exception):
    """A setting is missing or wrong; the message names it and says what to give. It never repeats a secret."""


@dataclass(frozen=True)
class Settings:
    """Everything the app is told from outside. Secrets stay out of `repr`."""

    tenant: str
    members: tuple[Member, ...]
    login: Login
    platform_token: str = field(repr=False)
    edge_token: str = field(repr=False)
    admin_key: ApiKey = field(repr=False)
    certificate: Path
    private_key: Path
    port: int


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""

    def need(name: str) -> str:
        value = environ.get(name, "")
        if not value:
            raise SettingsError(f"{name} is not set; the operator sets it (docs/interfaces.md)")
        return value

    try:
        members = parse_members(need("DB_MEMBERS"))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    admin_key = ApiKey.parse(need("ADMIN_API_KEY"))
    if admin_key is None:
        raise SettingsError(
            "ADMIN_API_KEY is not an API key; give otk_ + 8 letters or digits + _ + 43 base64url characters"
        )
    port = environ.get("PORT", "8443")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(f"PORT is {port!r}; give a number from 1 to 65535")
    for name in ("PLATFORM_TOKEN", "EDGE_TOKEN"):
        if len(need(name)) < 16:
            raise SettingsError(f"{name} is too short to be safe; give at least 16 characters")
    return Settings(
        tenant=need("TENANT_NAME"),
        members=members,
        login=Login(environ.get("DB_NAME") or "callcentre", environ.get("DB_USER") or "app", need("DB_PASSWORD")),
        platform_token=need("PLATFORM_TOKEN"),
        edge_token=need("EDGE_TOKEN"),
        admin_key=admin_key,
        certificate=Path(environ.get("TLS_CERT_FILE") or "/etc/tls/tls.crt"),
        private_key=Path(environ.get("TLS_KEY_FILE") or "/etc/tls/tls.key"),
        port=int(port),
    )
