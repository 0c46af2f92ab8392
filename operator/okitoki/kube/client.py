"""A thin asynchronous client of the Kubernetes API: raw objects in, raw objects out.

Why not `kubernetes.aio`: docs/decisions/0002-kubernetes-client.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import kopf

from okitoki.kube.labels import FIELD_MANAGER, label_selector
from okitoki.kube.resources import Manifest, ResourceType, type_of
from okitoki.metrics.process import API_REQUESTS

SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
REQUEST_TIMEOUT_SECONDS = 15.0
LIST_PAGE = 500
WATCH_SECONDS = 300
"""The API server ends a watch after this; it goes on from where it was."""
SILENCE_SECONDS = 100.0
"""The API server sends a bookmark about every minute: a watch that is silent for longer is dead."""
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_ONLY_LIST = METADATA_ONLY.replace("Metadata", "MetadataList")

Fence = Callable[[], None]
"""Called before every write; raises when this process may no longer write (it lost its lease)."""


class ApiError(Exception):
    """The API server refused: `status` is the HTTP code, `reason` Kubernetes' own word (`Conflict`, `Invalid`, …)."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Client:
    """One connection pool to the API server; an async context manager.

    Errors: every call raises `ApiError` for a refusal and `aiohttp.ClientError` or `TimeoutError` when no answer came.
    """

    def __init__(self, connection: kopf.ConnectionInfo, *, fence: Fence | None = None) -> None:
        self._connection = connection
        self._fence = fence
        self._host = urlsplit(connection.server).netloc
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        server = self._connection.server
        tls = self._connection.as_ssl_context() if server.startswith("https:") else False
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=64),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS, connect=5.0),
            headers={"User-Agent": FIELD_MANAGER, "Accept": "application/json"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, kind: ResourceType, name: str, namespace: str | None = None) -> Manifest | None:
        """One object, or None when there is none."""
        try:
            return await self.request("GET", kind.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self, kind: ResourceType, namespace: str | None = None, selector: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        """All objects of a kind, in one namespace or everywhere; each carries `apiVersion` and `kind`."""
        return [item async for item in self.each(kind, namespace, selector)]

    async def each(
        self, kind: ResourceType, namespace: str | None = None, selector: Mapping[str, str] | None = None
    ) -> AsyncIterator[Manifest]:
        """The same one by one: no more than a page of them is held at a time."""
        async for _, items in self._pages(kind, namespace, selector, {}):
            for item in items:
                # A list's items omit what the list already says.
                yield {"apiVersion": kind.api_version, "kind": kind.kind, **item}

    def metadata(
        self, kind: ResourceType, selector: Mapping[str, str]
    ) -> AsyncIterator[tuple[str, Sequence[Manifest]]]:
        """All objects of a kind everywhere with no more than their metadata, page by page, each with the version of the
        collection, from which `watch` goes on."""
        return self._pages(kind, None, selector, {"Accept": METADATA_ONLY_LIST})

    async def _pages(
        self,
        kind: ResourceType,
        namespace: str | None,
        selector: Mapping[str, str] | None,
        headers: Mapping[str, str],
    ) -> AsyncIterator[tuple[str, Sequence[Manifest]]]:
        params = {"limit": str(LIST_PAGE)}
        if selector:
            params["labelSelector"] = label_selector(selector)
        while True:
            page = await self.request("GET", kind.path(namespace), params=params, headers=headers)
            metadata = page.get("metadata") or {}
            yield str(metadata.get("resourceVersion", "")), page.pop("items", None) or []
            if not metadata.get("continue"):
                return
            params["continue"] = metadata["continue"]

    async def version(self, kind: ResourceType, selector: Mapping[str, str]) -> str:
        """The version of the collection now, from which `watch` goes on."""
        params = {"limit": "1", "labelSelector": label_selector(selector)}
        page = await self.request("GET", kind.path(), params=params)
        return str(page["metadata"]["resourceVersion"])

    async def watch(
        self, kind: ResourceType, since: str, selector: Mapping[str, str], *, whole: bool
    ) -> AsyncIterator[tuple[str, Manifest]]:
        """Changes since a version everywhere, as (`ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`, object), until the API
        server ends it. Raises `ApiError` 410 when it no longer knows what happened since then."""
        params = {
            "watch": "1", "allowWatchBookmarks": "1", "resourceVersion": since,
            "timeoutSeconds": str(WATCH_SECONDS), "labelSelector": label_selector(selector),
        }  # fmt: skip
        async with self._opened().request(
            "GET",
            self._connection.server.rstrip("/") + kind.path(),
            params=params,
            headers=self._headers() | ({} if whole else {"Accept": METADATA_ONLY}),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=SILENCE_SECONDS),
        ) as response:
            API_REQUESTS.labels(str(response.status), "GET", self._host).inc()
            if response.status >= 400:
                raise _error(response.status, await response.text(), response.headers.get("Retry-After"))
            async for line in _lines(response.content):
                event = json.loads(line)
                item = event["object"]
                if event["type"] == "ERROR":
                    raise ApiError(int(item.get("code", 0)), item.get("reason", "Unknown"), item.get("message", ""))
                yield event["type"], item

    async def create(self, manifest: Manifest) -> Manifest:
        """Make an object that must not exist yet (`ApiError` 409 `AlreadyExists` when it does)."""
        kind = type_of(manifest)
        path = kind.path(manifest["metadata"].get("namespace"))
        return await self.write("POST", path, body=manifest, params={"fieldManager": FIELD_MANAGER})

    async def apply(self, manifest: Manifest, *, force: bool = True) -> Manifest:
        """Server-side apply: what is in `manifest` is so afterwards; fields we no longer name are given up."""
        kind = type_of(manifest)
        metadata = manifest["metadata"]
        return await self.write(
            "PATCH",
            kind.path(metadata.get("namespace"), metadata["name"]),
            body=manifest,
            params={"fieldManager": FIELD_MANAGER, "force": str(force).lower()},
            content_type="application/apply-patch+yaml",
        )

    async def merge_patch(
        self,
        kind: ResourceType,
        name: str,
        patch: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Manifest:
        """JSON merge patch (RFC 7396)."""
        return await self.write(
            "PATCH",
            kind.path(namespace, name, subresource),
            body=patch,
            params={"fieldManager": FIELD_MANAGER},
            content_type="application/merge-patch+json",
        )

    async def replace(self, manifest: Manifest) -> Manifest:
        """Compare and set: refused with 409 `Conflict` unless `metadata.resourceVersion` is still the current one."""
        kind = type_of(manifest)
        metadata = manifest["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"])
        return await self.write("PUT", path, body=manifest, params={"fieldManager": FIELD_MANAGER})

    async def delete(
        self, kind: ResourceType, name: str, namespace: str | None = None, *, uid: str | None = None,
        grace_seconds: int | None = None,
    ) -> None:  # fmt: skip
        """Delete an object, only the one with `uid` when given; one that is gone already is no error.

        `grace_seconds` 0 removes a pod whose node can't be asked (`kubectl delete --force`).
        """
        body: dict[str, Any] = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            await self.write("DELETE", kind.path(namespace, name), body=body)
        except ApiError as error:
            if error.status != 404:
                raise

    async def write(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any],
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        """Every write goes through here, behind the fence."""
        if self._fence is not None:
            self._fence()
        return await self.request(method, path, body=body, params=params, content_type=content_type)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Manifest:
        """One request; the answer's JSON object."""
        code = "<error>"
        try:
            further = {**(headers or {}), **({"Content-Type": content_type} if body is not None else {})}
            status, text, retry_after = await self._send(self._opened(), method, path, body, params, further)
            code = str(status)
        finally:
            API_REQUESTS.labels(code, method, self._host).inc()
        if status >= 400:
            raise _error(status, text, retry_after)
        answer: Manifest = json.loads(text)
        return answer

    async def _send(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
    ) -> tuple[int, str, str | None]:
        async with session.request(
            method,
            self._connection.server.rstrip("/") + path,
            data=None if body is None else json.dumps(body).encode(),
            params=params,
            headers={**self._headers(), **headers},
        ) as response:
            return response.status, await response.text(), response.headers.get("Retry-After")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is used outside its context")
        return self._session

    def _headers(self) -> dict[str, str]:
        # A pod's token is rotated on disk about every hour; a copy taken at the start would expire.
        if self._connection.token and _in_pod():
            return {"Authorization": f"Bearer {SERVICE_ACCOUNT_TOKEN.read_text().strip()}"}
        return dict(self._connection.as_http_headers())


def connection() -> kopf.ConnectionInfo:
    """How to reach the API server: a kubeconfig named by `KUBECONFIG`, else the pod's service account.

    Raises:
        RuntimeError: when there is neither.
    """
    settings = kopf.OperatorSettings()
    if os.environ.get("KUBECONFIG") or not _in_pod():
        found = kopf.login_with_kubeconfig(settings=settings)
    else:
        found = kopf.login_with_service_account(settings=settings)
    if found is None:
        raise RuntimeError("no way to the Kubernetes API: set KUBECONFIG, or run in a pod with a service account")
    return found


def _in_pod() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and SERVICE_ACCOUNT_TOKEN.exists()


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines however long they are (aiohttp's own iteration refuses long ones)."""
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _error(status: int, text: str, retry_after: str | None) -> ApiError:
    try:
        answer = json.loads(text)
        reason, message = answer.get("reason") or "Unknown", answer.get("message") or text
    except (ValueError, AttributeError):
        reason, message = "Unknown", text[:500]
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return ApiError(status, reason, message, seconds)
