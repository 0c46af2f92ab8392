"""The operator's side of Patroni's REST API (https://patroni.readthedocs.io, "Patroni REST API")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from okitoki.kube import names

USERNAME = "patroni"
TIMEOUT_SECONDS = 8.0


class PatroniError(Exception):
    """Patroni did not answer, or refused."""


class PatroniApi:
    """Calls to one member, by its pod's address."""

    async def streaming(self, address: str) -> frozenset[str]:
        """Names of the standbys that are connected to the primary at `address`; raises `PatroniError`."""
        url = f"http://{address}:{names.PATRONI_PORT}/patroni"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=3.0)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
                found = await response.json(content_type=None)
                return frozenset(str(one["application_name"]) for one in found.get("replication") or [])
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PatroniError(f"GET /patroni: {type(error).__name__}: {error}") from error

    async def configure(self, address: str, password: str, changes: Mapping[str, Any]) -> None:
        """Merge `changes` into the dynamic configuration; raises `PatroniError`."""
        url = f"http://{address}:{names.PATRONI_PORT}/config"
        headers = {"Authorization": aiohttp.encode_basic_auth(USERNAME, password)}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=3.0)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.patch(url, json=dict(changes), headers=headers) as response,
            ):
                if response.status >= 400:
                    raise PatroniError(f"PATCH /config: {response.status} {(await response.text())[:200]}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PatroniError(f"PATCH /config: {type(error).__name__}: {error}") from error
