"""The operator's side of Patroni's REST API (https://patroni.readthedocs.io, "Patroni REST API")."""

from __future__ import annotations

import json
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
        answer = await self._call("GET", address, "/patroni")
        try:
            return frozenset(str(one["application_name"]) for one in json.loads(answer).get("replication") or [])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PatroniError(f"GET /patroni: {type(error).__name__}: {error}") from error

    async def configure(self, address: str, password: str, changes: Mapping[str, Any]) -> None:
        """Merge `changes` into the dynamic configuration; raises `PatroniError`."""
        headers = {"Authorization": aiohttp.encode_basic_auth(USERNAME, password)}
        await self._call("PATCH", address, "/config", json=dict(changes), headers=headers)

    async def _call(self, method: str, address: str, path: str, **arguments: Any) -> str:
        url = f"http://{address}:{names.PATRONI_PORT}{path}"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=3.0)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, **arguments) as response,
            ):
                text = await response.text()
                if response.status >= 400:
                    raise PatroniError(f"{method} {path}: {response.status} {text[:200]}")
                return text
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PatroniError(f"{method} {path}: {type(error).__name__}: {error}") from error
