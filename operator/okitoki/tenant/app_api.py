"""The operator's side of the app's platform API (docs/interfaces.md): HTTPS, the platform's CA, the platform token."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp

from okitoki.kube import names

TIMEOUT_SECONDS = 10.0
"""Above the app's own deadline of 8 s: its answer, not our impatience, ends a request."""
PATH = "/platform/v1/tenant"


class AppUnavailable(Exception):
    """The app did not answer, or refused; the message holds no secret."""


class AppApi(Protocol):
    """What the Tenant's reconcile needs of an app."""

    async def read(self, namespace: str, token: str) -> Mapping[str, Any] | None:
        """The profile the app has, None when it has none yet; raises `AppUnavailable`."""
        ...

    async def write(self, namespace: str, token: str, profile: Mapping[str, Any]) -> None:
        """Tell the app its profile; raises `AppUnavailable`."""
        ...


class HttpsAppApi:
    """The app behind Service `app` of a tenant's namespace."""

    def __init__(self, ca_certificate: str) -> None:
        self._tls = ssl.create_default_context(cadata=ca_certificate)

    async def read(self, namespace: str, token: str) -> Mapping[str, Any] | None:
        """See `AppApi`."""
        status, answer = await self._call("GET", namespace, token, None)
        if status == 404:
            return None
        self._check(status, answer)
        return answer

    async def write(self, namespace: str, token: str, profile: Mapping[str, Any]) -> None:
        """See `AppApi`."""
        self._check(*await self._call("PUT", namespace, token, profile))

    async def _call(
        self, method: str, namespace: str, token: str, body: Mapping[str, Any] | None
    ) -> tuple[int, dict[str, Any]]:
        url = f"https://{names.service_host(names.APP, namespace)}:{names.APP_PORT}{PATH}"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=3.0)) as session,
                session.request(
                    method, url, json=body, headers={"Authorization": f"Bearer {token}"}, ssl=self._tls
                ) as response,
            ):
                answer = await response.json(content_type=None)
                return response.status, answer if isinstance(answer, dict) else {}
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise AppUnavailable(f"{method} {PATH}: {type(error).__name__}: {error}") from error

    @staticmethod
    def _check(status: int, answer: Mapping[str, Any]) -> None:
        if status >= 400:
            problem = answer.get("error") or {}
            text = problem.get("message", "") if isinstance(problem, dict) else ""
            raise AppUnavailable(f"the app answered {status} {text}".rstrip())
