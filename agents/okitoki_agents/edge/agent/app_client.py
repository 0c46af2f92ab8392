"""Requests of the edge to a tenant's app: HTTPS to a pod's address, the certificate checked for the Service's name.

Pods are asked one after the other until one answers; the one that did is asked first next time.
"""

import logging
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yarl

from okitoki_agents.edge.agent.endpoints import Backend
from okitoki_agents.edge.agent.tenants import EdgeTenant

log = logging.getLogger(__name__)

CONNECT_SECONDS = 1.0
REQUEST_SECONDS = 9.0
"""The app holds a request for up to 8 s while its database fails over (docs/interfaces.md)."""
BODY_LIMIT = 64 * 2**20


class AppUnreachableError(Exception):
    """No pod of the tenant gave an answer."""


@dataclass(frozen=True)
class Answer:
    """Status, body (read whole) and ETag of an answer."""

    status: int
    body: bytes
    etag: str | None


class AppClient:
    """All tenants' apps; connections are kept open."""

    def __init__(self, ca_file: Path) -> None:
        self._ca_file = ca_file
        self._ca: tuple[float, ssl.SSLContext] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._preferred: dict[str, str] = {}

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _tls(self) -> ssl.SSLContext:
        """The region's CA, read again when its file changes (a ConfigMap volume)."""
        changed = self._ca_file.stat().st_mtime
        if self._ca is None or self._ca[0] != changed:
            self._ca = (changed, ssl.create_default_context(cafile=str(self._ca_file)))
        return self._ca[1]

    async def request(
        self,
        tenant: EdgeTenant,
        backends: Sequence[Backend],
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        document: Any = None,
    ) -> Answer:
        """The first answer below 500 of a pod; the last one if all are above. `path` is sent as it is
        (percent-encoded).

        Only for requests that may be repeated. Raises AppUnreachableError.
        """
        problems: list[str] = []
        answer: Answer | None = None
        for backend in self._order(tenant.tenant, backends):
            try:
                answer = await self._ask(tenant, backend, method, path, headers or {}, document)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problems.append(f"{backend.address}: {type(error).__name__} {error}".strip())
                continue
            if answer.status < 500:
                self._preferred[tenant.tenant] = backend.address
                return answer
        if answer is not None:
            return answer
        raise AppUnreachableError("; ".join(problems) or "no pod is known")

    def _order(self, tenant: str, backends: Sequence[Backend]) -> list[Backend]:
        preferred = self._preferred.get(tenant)
        return sorted(backends, key=lambda backend: (backend.terminating, backend.address != preferred))

    async def _ask(
        self, tenant: EdgeTenant, backend: Backend, method: str, path: str, headers: Mapping[str, str], document: Any
    ) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100, limit_per_host=4))
        async with self._session.request(
            method,
            yarl.URL(f"https://{backend.address}:{tenant.port}{path}", encoded=True),
            headers={"Authorization": f"Bearer {tenant.edgeToken}", "Host": tenant.serverName, **headers},
            json=document,
            ssl=self._tls(),
            server_hostname=tenant.serverName,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > BODY_LIMIT:
                    raise aiohttp.ClientPayloadError(f"the answer has more than {BODY_LIMIT} bytes")
            return Answer(response.status, bytes(body), response.headers.get("ETag"))
