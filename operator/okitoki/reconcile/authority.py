"""Keeps the platform's authorities: reads their Secret, takes the next step of a rotation, tells of it.

The steps are decided in `okitoki.kube.rotation`. Whoever leads does it; every step is one write that is refused if
the Secret is no longer as it was read, so one that dies after any write leaves a state from which another goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from okitoki.kube import names
from okitoki.kube.authority import AuthoritySet, authority_secret, authority_set
from okitoki.kube.client import ApiError
from okitoki.kube.lease import NotLeading
from okitoki.kube.pki import encode, new_authority
from okitoki.kube.resources import SECRET, TENANT, VOICE_REGION, Manifest
from okitoki.kube.rotation import Report, Step, is_under_way, next_step
from okitoki.metrics.domain import Owner
from okitoki.reconcile.certificate import EXPIRY, report
from okitoki.reconcile.kind import Context

log = logging.getLogger(__name__)

REST_SECONDS = 60.0
ROTATION_SECONDS = 5.0
"""Between two looks while a rotation is under way: what is awaited comes as statuses of Tenants and VoiceRegions."""
OWNER: Owner = ("Authority", names.CA_SECRET)
EVENTS = {"begin": "AuthorityRotationBegun", "promote": "AuthorityPromoted", "retire": "AuthorityRetired"}


class AuthorityKeeper:
    """See the module. `changed` is called when there are other authorities than before: all resources need a look."""

    def __init__(self, ctx: Context, changed: Callable[[], None]) -> None:
        self._ctx = ctx
        self._changed = changed
        self._awake = asyncio.Event()
        self._said = ""

    def wake(self) -> None:
        """The Secret has changed."""
        self._awake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                wait = await self.look()
            except NotLeading as error:
                wait = REST_SECONDS
                log.warning("authorities: stopped: %s", error)
            except (ApiError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                # An unusable Secret too: what was read before stays in force.
                wait = ROTATION_SECONDS
                self._say(f"{type(error).__name__}: {error}", logging.WARNING)
            self._awake.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._awake.wait()
            except TimeoutError:
                continue

    async def look(self) -> float:
        """Take the next step, if one is due; seconds after which to look again.

        Raises: what the API raises; `ValueError` when the Secret holds no CA any more.
        """
        raw = await self._read()
        found = self._known(raw) or authority_set(raw)
        self._take(found)
        under_way = is_under_way(found)
        step = next_step(found, await self._reports() if under_way else [], self._ctx.now())
        if step.action in ("begin", "promote", "retire"):
            raw = await self._write(found, self._values(step, found))
            self._take(authority_set(raw))
            await self._ctx.events.record(raw, "Normal", EVENTS[step.action], step.reason)
        elif step.action == "refuse" and step.reason != self._said:
            await self._ctx.events.record(raw, "Warning", "AuthorityRefused", step.reason)
        self._say(step.reason)
        return REST_SECONDS if step.action in ("rest", "refuse") else ROTATION_SECONDS

    async def _read(self) -> Manifest:
        client, namespace = self._ctx.client, self._ctx.namespace
        raw = await client.get(SECRET, names.CA_SECRET, namespace)
        if raw is None:
            # Another authority at once would make every certificate in use worthless.
            log.warning("Secret %s/%s is gone and made again as it was", namespace, names.CA_SECRET)
            known = self._ctx.authorities.latest
            raw = await client.create(authority_secret(known.data, namespace, own=known.own))
        return raw

    def _known(self, raw: Manifest) -> AuthoritySet | None:
        """What was read before, while the Secret is the same: an authority keeps the facts of certificates it has read,
        and another object would begin anew."""
        known = self._ctx.authorities.latest
        return known if known.version and raw["metadata"].get("resourceVersion") == known.version else None

    def _take(self, found: AuthoritySet) -> None:
        before, self._ctx.authorities.latest = self._ctx.authorities.latest, found
        self._ctx.series.put(
            OWNER, {EXPIRY: found.current.expires.timestamp(), "okitoki_authority_rotating": float(is_under_way(found))}
        )
        if (before.current.id, before.ids) != (found.current.id, found.ids):
            self._changed()

    async def _reports(self) -> list[Report]:
        client = self._ctx.client
        return [report(item) for kind in (VOICE_REGION, TENANT) for item in await client.list(kind)]

    def _values(self, step: Step, found: AuthoritySet) -> Mapping[str, str | None]:
        """What of the Secret's values the step changes; None is removed."""
        now = self._ctx.now()
        if step.action == "begin":
            made = new_authority(now)
            return {"next.crt": made.certificate, "next.key": made.key}
        if step.action == "promote" and found.next is not None:
            return {
                "tls.crt": found.next.certificate,
                "tls.key": found.next.pair.key,
                "previous.crt": found.current.certificate,
                "cross.crt": found.current.certify(found.next, now) or None,
                "next.crt": None,
                "next.key": None,
            }
        return {"previous.crt": None}

    async def _write(self, found: AuthoritySet, values: Mapping[str, str | None]) -> Manifest:
        data = {key: None if value is None else encode(value) for key, value in values.items()}
        patch: dict[str, Any] = {"metadata": {"resourceVersion": found.version}, "data": data}
        return await self._ctx.client.merge_patch(SECRET, names.CA_SECRET, patch, namespace=self._ctx.namespace)

    def _say(self, text: str, level: int = logging.INFO) -> None:
        if text and text != self._said:
            log.log(level, "authorities: %s", text)
        self._said = text
