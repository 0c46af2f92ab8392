"""A client of the public API: HTTPS to a region's address under the tenant's host name, certificate verified."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

# Something that was sent to a server that is gone gets no answer. Probes after a second of silence reach whoever holds
# the address now, and that one says that it knows nothing of the connection (RFC 9293, reset).
KEEPALIVE_IDLE_SECONDS = 1
KEEPALIVE_INTERVAL_SECONDS = 1
KEEPALIVE_PROBES = 3
UNACKNOWLEDGED_MILLISECONDS = 3000
CONNECT_SECONDS = 2.5  # one SYN sent again after a second has its chance
PAGE = 1000


class ApiError(Exception):
    """An answer that is not the expected one."""

    def __init__(self, what: str, status: int, body: Any) -> None:
        error = body.get("error") if isinstance(body, Mapping) else None
        detail = f"{error.get('code')}: {error.get('message')}" if isinstance(error, Mapping) else "no explanation"
        super().__init__(f"{what}: {status}, {detail}")
        self.status = status
        self.code = error.get("code") if isinstance(error, Mapping) else None


class OneAddress(AbstractResolver):
    """Resolves every name to one address: there is no DNS for the region's names on a test machine."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self._address, port=port, family=socket.AF_INET, proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]  # fmt: skip

    async def close(self) -> None:
        return None


def open_socket(address: Any) -> socket.socket:
    """A TCP socket that notices within seconds when its peer is gone. Takes what getaddrinfo returns."""
    family, kind, protocol = address[0], address[1], address[2]
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MILLISECONDS)
    return made


class Api:
    """One tenant's API as one client sees it. Use it as an asynchronous context."""

    def __init__(self, *, address: str, host: str, port: int, ca: Path | None, key: str) -> None:
        self._base = f"https://{host}" if port == 443 else f"https://{host}:{port}"
        self._address = address
        self._ca = ca
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Api:
        connector = aiohttp.TCPConnector(
            resolver=OneAddress(self._address),
            ssl=ssl.create_default_context(cafile=str(self._ca) if self._ca else None),
            socket_factory=open_socket,
            limit=0,
        )
        self._session = aiohttp.ClientSession(
            connector=connector, headers={"Authorization": f"Bearer {self._key}"}, raise_for_status=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        limit: float = 12.0,
    ) -> tuple[int, Any]:
        """Status and JSON body (None when it is none) within `limit` seconds.

        Raises aiohttp.ClientError or TimeoutError.
        """
        if self._session is None:
            raise RuntimeError("the client is not open: use `async with`")
        limits = aiohttp.ClientTimeout(total=limit, sock_connect=CONNECT_SECONDS)
        async with self._session.request(
            method, self._base + path, json=body, headers=headers, params=query, timeout=limits
        ) as response:
            text = await response.text()
            try:
                return response.status, json.loads(text) if text else None
            except json.JSONDecodeError:
                return response.status, None

    async def need(self, method: str, path: str, *expected: int, body: Any = None) -> tuple[int, Any]:
        """A request whose answer must be one of these."""
        status, answer = await self.request(method, path, body=body)
        if status not in expected:
            raise ApiError(f"{method} {path}", status, answer)
        return status, answer

    async def records(self, since: str) -> AsyncIterator[dict[str, Any]]:
        """All call records that started from a time on (RFC 3339), page by page, newest first."""
        query = {"from": since, "limit": str(PAGE)}
        while True:
            status, answer = await self.request("GET", "/v1/call-records", query=query, limit=30.0)
            if status != 200:
                raise ApiError("GET /v1/call-records", status, answer)
            for item in answer["items"]:
                yield item
            if not answer.get("next"):
                return
            query = {**query, "cursor": answer["next"]}
