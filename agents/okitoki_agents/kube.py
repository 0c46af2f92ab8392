"""The Kubernetes API as the agents need it: list, watch and patch over aiohttp, with the pod's service account.

A `Reflector` keeps the objects of one collection and calls back on change. It never gives up and never empties what it
holds because of an error: an API server that is gone leaves the last answer in force (list and watch semantics:
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes).
"""

import asyncio
import json
import logging
import os
import random
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

log = logging.getLogger(__name__)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
WATCH_SECONDS = 60
"""How long one watch request lasts; a connection that died silently is noticed this much later at worst."""
REQUEST_SECONDS = 10.0
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_LAST_SECONDS = 15.0

Object = dict[str, Any]


class ApiError(Exception):
    """The API server answered with an error. `status` is the HTTP status, or `code` of a watch's ERROR event."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class ApiClient:
    """Requests to the API server as the pod's service account.

    The projected token is rotated by the kubelet (hourly), so it is read again for each request, and so is the CA when
    its file changed.
    """

    def __init__(self, base_url: str, token_file: Path, ca_file: Path) -> None:
        self._base_url = base_url.rstrip("/")
        self._token_file = token_file
        self._ca_file = ca_file
        self._ca_read: tuple[float, ssl.SSLContext] | None = None
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def in_cluster(cls) -> "ApiClient":
        """The client of a pod (environment and files that the kubelet provides)."""
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        host = f"[{host}]" if ":" in host else host
        return cls(f"https://{host}:{port}", SERVICE_ACCOUNT / "token", SERVICE_ACCOUNT / "ca.crt")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _tls(self) -> ssl.SSLContext | bool:
        if not self._base_url.startswith("https:"):
            return True
        changed = self._ca_file.stat().st_mtime
        if self._ca_read is None or self._ca_read[0] != changed:
            self._ca_read = (changed, ssl.create_default_context(cafile=str(self._ca_file)))
        return self._ca_read[1]

    def _request(
        self, method: str, path: str, *, timeout: aiohttp.ClientTimeout, **arguments: Any
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            self._session = aiohttp.ClientSession(read_bufsize=2**20)
        headers = {"Authorization": f"Bearer {self._token_file.read_text().strip()}", "Accept": "application/json"}
        headers |= arguments.pop("headers", {})
        return self._session.request(
            method, self._base_url + path, ssl=self._tls(), headers=headers, timeout=timeout, **arguments
        )

    async def list(self, path: str, selector: str) -> tuple[list[Object], str]:
        """Items of the collection at `path` and the resourceVersion to watch from. Raises ApiError, ClientError,
        OSError."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with self._request("GET", path, params={"labelSelector": selector}, timeout=timeout) as response:
            await _raise_for_status(response)
            document = await response.json()
        return document.get("items") or [], document["metadata"]["resourceVersion"]

    async def watch(self, path: str, selector: str, version: str, on_event: Callable[[str, Object], None]) -> None:
        """Call `on_event(type, object)` for each event after `version` until the server ends the watch.

        Raises ApiError (410: the version is too old, list again), ClientError, TimeoutError, OSError.
        """
        parameters = {
            "labelSelector": selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=WATCH_SECONDS + 5)
        async with self._request("GET", path, params=parameters, timeout=timeout) as response:
            await _raise_for_status(response)
            async for line in _lines(response.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"].get("message", "watch failed"))
                on_event(event["type"], event["object"])

    async def get(self, path: str, seconds: float = REQUEST_SECONDS) -> Object:
        """The object at `path`, as the store has it now. Raises ApiError, ClientError, TimeoutError, OSError."""
        async with self._request("GET", path, timeout=aiohttp.ClientTimeout(total=seconds)) as response:
            await _raise_for_status(response)
            document: Object = await response.json()
        return document

    async def merge_patch(self, path: str, patch: Object, seconds: float = REQUEST_SECONDS) -> Object:
        """JSON merge patch (RFC 7386) of the object at `path`; returns it as it is then.

        With `metadata.resourceVersion` in the patch it is a compare-and-set: ApiError 409 when the object has changed.
        Raises ApiError, ClientError, TimeoutError, OSError.
        """
        async with self._request(
            "PATCH",
            path,
            data=json.dumps(patch),
            headers={"Content-Type": "application/merge-patch+json"},
            timeout=aiohttp.ClientTimeout(total=seconds),
        ) as response:
            await _raise_for_status(response)
            document: Object = await response.json()
        return document


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        text = await response.text()
        try:
            message = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError):
            message = text[:200]
        raise ApiError(response.status, message)


async def _lines(stream: aiohttp.StreamReader) -> Any:
    """Lines of any length (`StreamReader.readline` refuses those above its buffer; a Secret may have 1 MiB)."""
    pending = bytearray()
    async for chunk in stream.iter_any():
        pending += chunk
        while (end := pending.find(b"\n")) >= 0:
            line = bytes(pending[:end])
            del pending[: end + 1]
            if line.strip():
                yield line


class Reflector:
    """The objects of one collection, kept current by list and watch.

    `on_change(objects)` is called with all objects by name after the first list and after every event that changed one.
    `synced` is true once a list has succeeded; it stays so.
    """

    def __init__(
        self, client: ApiClient, path: str, selector: str, on_change: Callable[[dict[str, Object]], None]
    ) -> None:
        self._client, self._path, self._selector, self._on_change = client, path, selector, on_change
        self._version: str | None = None
        self.objects: dict[str, Object] = {}
        self.synced = False

    async def run(self) -> None:
        """Follow the collection until cancelled."""
        backoff = BACKOFF_FIRST_SECONDS
        while True:
            try:
                if self._version is None:
                    await self._list()
                assert self._version is not None  # noqa: S101 - set by _list
                await self._client.watch(self._path, self._selector, self._version, self._on_event)
                backoff = BACKOFF_FIRST_SECONDS
                continue
            except ApiError as error:
                # A version that is too old (410), or any other refusal: only a fresh list is sure to be right.
                self._version = None
                if error.status == 410:
                    continue
                reason = str(error)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                reason = f"{type(error).__name__} {error}"
            log.warning("watch of %s: %s; again in %.1f s", self._path, reason, backoff)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            backoff = min(backoff * 2, BACKOFF_LAST_SECONDS)

    async def _list(self) -> None:
        items, self._version = await self._client.list(self._path, self._selector)
        objects = {item["metadata"]["name"]: item for item in items}
        changed = objects != self.objects or not self.synced
        self.objects, self.synced = objects, True
        if changed:
            self._on_change(self.objects)

    def _on_event(self, kind: str, item: Object) -> None:
        self._version = item["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return
        name = item["metadata"]["name"]
        if kind == "DELETED":
            self.objects.pop(name, None)
        else:
            self.objects[name] = item
        self._on_change(self.objects)
