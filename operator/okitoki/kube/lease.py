"""Leader election by a Lease (coordination.k8s.io/v1), with client-go's figures and rules.

One process leads. A candidate takes the Lease over when it has seen it unchanged for its whole duration by its own
clock, so clocks of machines need not agree. The leader may write only while its last renewal went well and is younger
than the renewal deadline, which is shorter than the duration: before another may lead, this one has stopped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from okitoki.kube import labels
from okitoki.kube.client import ApiError, Client
from okitoki.kube.resources import LEASE, Manifest

log = logging.getLogger(__name__)

DURATION_SECONDS = 15.0
RENEW_DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 2.0
AGAIN_SECONDS = 0.5
"""Before another attempt after a renewal that failed: nothing is written meanwhile, and the deadline comes nearer."""
REQUEST_SECONDS = 5.0


class NotLeading(Exception):
    """This process does not hold the lease (any more); it must not write."""


@dataclass(slots=True)
class _Seen:
    """The Lease as last seen, and when (own clock) it last changed."""

    version: str = ""
    changed: float = 0.0


class Leadership:
    """One candidate. `acquire`, then `keep` until it returns (lost), or `release`."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`client` must be an unfenced one; `clock` is monotonic seconds, `now` goes into the Lease for people."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._clock = clock
        self._now = now
        self._seen = _Seen()
        self._renewed: float | None = None
        self._failing = False
        self._own: Manifest | None = None

    @property
    def leading(self) -> bool:
        """Whether this process may write now. May be asked from any thread; everything else belongs to one loop."""
        renewed = self._renewed
        return renewed is not None and not self._failing and not self._is_old(renewed)

    def fence(self) -> None:
        """Raises `NotLeading` unless this process may write now; every write passes here."""
        if not self.leading:
            raise NotLeading("the lease is not held: nothing may be written")

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while True:
            if await self.try_acquire():
                break
            await asyncio.sleep(RETRY_SECONDS)
        log.info("leading as %s", self.identity)

    async def keep(self) -> None:
        """Renew until the lease is lost; then return. The caller must end the process."""
        while True:
            await asyncio.sleep(AGAIN_SECONDS if self._failing else RETRY_SECONDS)
            if not await self.try_renew():
                return

    async def try_acquire(self) -> bool:
        """One attempt to become leader."""
        started = self._clock()
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                lease = await self._client.get(LEASE, self._name, self._namespace)
                if lease is None:
                    taken = await self._client.create(self._manifest(None))
                elif self._free(lease):
                    taken = await self._client.replace(self._manifest(lease))
                else:
                    return False
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            if not (isinstance(error, ApiError) and error.status == 409):
                log.warning("the lease cannot be had: %s", error)
            return False
        self._took(taken, started)
        return True

    async def try_renew(self) -> bool:
        """One renewal; False when the lease is lost for good. After a failed attempt nothing may be written."""
        started = self._clock()
        if self._overdue():
            # Also after a freeze: the renewal that would come now is too late, another may lead.
            return self._lost(f"no renewal went well for {RENEW_DEADLINE_SECONDS:.0f} s")
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                # Compare and set on what was written last: one request, and nobody else's Lease is overwritten.
                self._took(await self._client.replace(self._manifest(self._own)), started)
        except ApiError as error:
            if error.status in (404, 409):
                return await self._still_held()
            return self._failed(error)
        except (aiohttp.ClientError, TimeoutError) as error:
            return self._failed(error)
        return True

    async def release(self) -> None:
        """Give the lease up, so that another need not wait for it to run out; a failure only costs that wait."""
        if self._renewed is None:
            return
        self._renewed = None
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                lease = await self._client.get(LEASE, self._name, self._namespace)
                if lease and (lease.get("spec") or {}).get("holderIdentity") == self.identity:
                    lease["spec"] = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._client.replace(lease)
                    log.info("lease released")
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("the lease could not be released: %s", error)

    async def _still_held(self) -> bool:
        """After a conflict: is the Lease ours all the same (an answer was lost, its labels were changed)?"""
        self._failing = True
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                lease = await self._client.get(LEASE, self._name, self._namespace)
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            return self._failed(error)
        if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self.identity:
            return self._lost("another process holds it")
        self._own = lease
        return True

    def _failed(self, error: Exception) -> bool:
        log.warning("renewing the lease failed, nothing is written until it works: %s %s", type(error).__name__, error)
        self._failing = True
        return True if not self._overdue() else self._lost("the renewal deadline passed")

    def _overdue(self) -> bool:
        return self._renewed is not None and self._is_old(self._renewed)

    def _is_old(self, renewed: float) -> bool:
        return self._clock() - renewed >= RENEW_DEADLINE_SECONDS

    def _lost(self, why: str) -> bool:
        log.error("lease lost: %s", why)
        self._renewed = None
        return False

    def _took(self, lease: Manifest, started: float) -> None:
        # From before the request: the others may have seen it from then on.
        self._renewed = started
        self._failing = False
        self._own = lease
        self._seen = _Seen(lease["metadata"]["resourceVersion"], started)

    def _free(self, lease: Manifest) -> bool:
        spec = lease.get("spec") or {}
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen.version:
            self._seen = _Seen(version, self._clock())
        if not spec.get("holderIdentity"):
            return True
        return self._clock() - self._seen.changed > float(spec.get("leaseDurationSeconds", DURATION_SECONDS))

    def _manifest(self, lease: Manifest | None) -> Manifest:
        time_text = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old: dict[str, Any] = (lease or {}).get("spec") or {}
        same = old.get("holderIdentity") == self.identity
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(DURATION_SECONDS),
            "renewTime": time_text,
            "acquireTime": old.get("acquireTime", time_text) if same else time_text,
            "leaseTransitions": old.get("leaseTransitions", 0) + (0 if same or not lease else 1),
        }
        metadata: dict[str, Any] = {
            "name": self._name,
            "namespace": self._namespace,
            "labels": labels.owned(),
        }
        if lease:
            metadata["resourceVersion"] = lease["metadata"]["resourceVersion"]
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}
