"""From watch events to reconciles: the queue, its workers, the periodic look at everything."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import aiohttp

from okitoki.kube import labels, names
from okitoki.kube.client import ApiError
from okitoki.kube.follow import follow
from okitoki.kube.lease import NotLeading
from okitoki.kube.metadata_cache import Record, record
from okitoki.kube.resources import NAMESPACE, NODE, POD, SECRET, TENANT, VOICE_REGION, Manifest, ResourceType, type_of
from okitoki.logs import log_context
from okitoki.metrics import process as metrics
from okitoki.reconcile.authority import AuthorityKeeper
from okitoki.reconcile.kind import Context, Kind
from okitoki.reconcile.loop import ApplyRefused, Reconciler, retry_after
from okitoki.reconcile.queue import WorkQueue
from okitoki.reconcile.trigger import fingerprint

log = logging.getLogger(__name__)

WORKERS = 8
RESYNC_SECONDS = 300.0
"""Everything is looked at this often even if no event came: a missed event costs minutes, not for ever."""
APART_SECONDS = 1.0
"""What owned objects and other resources tell is met at the earliest so long after the last reconcile: a Tenant in the
making has fifty such changes. The first one after a pause, and the resource's own spec, are met at once."""
ATTEMPT_SECONDS = 120.0
"""One reconcile that takes longer is given up and tried again: a hanging call must not hold a worker for ever."""

FINGERPRINTED = {TENANT.kind, VOICE_REGION.kind, NODE.kind, POD.kind}
"""Kinds that change all the time without any news; whatever happens to another is news."""

Key = tuple[str, str]
"""Kind and name of a Tenant or VoiceRegion."""


Result = Literal["success", "requeue_after", "error"]


def _identity(body: Manifest) -> str:
    metadata = body["metadata"]
    return f"{body['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def controller_name(key: Key) -> str:
    """As controller-runtime names its controllers and queues: the kind in lower case."""
    return key[0].lower()


class Controller:
    """Reconciles the resources of `kinds`; fed by `notice` with watch events."""

    def __init__(self, ctx: Context, kinds: Sequence[Kind[Any, Any]]) -> None:
        self._ctx = ctx
        self._kinds = {kind.resource.kind: kind for kind in kinds}
        self._reconcilers = {name: Reconciler(kind, ctx) for name, kind in self._kinds.items()}
        self._fingerprints: dict[str, str] = {}
        self.queue_watch: metrics.QueueWatch[Key] = metrics.QueueWatch(controller_name)
        self.queue: WorkQueue[Key] = WorkQueue(self.queue_watch)
        self._keeper = AuthorityKeeper(ctx, self.add_all)
        for kind in self._kinds:
            metrics.MAX_CONCURRENT.labels(controller_name((kind, ""))).set(WORKERS)
        self.last_progress = time.monotonic()

    @property
    def watched(self) -> list[ResourceType]:
        """Kinds of owned objects that are followed."""
        return list({rt.kind: rt for kind in self._kinds.values() for rt in kind.watched}.values())

    async def run(self) -> None:
        """Begin to follow what is owned, load the index, then work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._follow(group)
                await self._ctx.index.load(self._ctx.client)
                self.add_all()
                group.create_task(self._keeper.run())
                group.create_task(self._resync())
                for _ in range(WORKERS):
                    group.create_task(self._work())
        finally:
            self.queue.close()

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Returns once all kinds are followed: what is there by then is found by the look at everything."""
        following = {kind: asyncio.Event() for kind in self.watched}

        async def begin(kind: ResourceType) -> str:
            version = await self._begin(kind)
            following[kind].set()
            # Not at the start: nothing is known then, and everything is looked at anyway.
            self.add_all()
            return version

        for kind in following:
            # Of pods the labels are not enough: most of their changes are Patroni's and the kubelet's heartbeats.
            task = follow(self._ctx.client, kind, labels.OURS, self.notice, partial(begin, kind), whole=kind == POD)
            group.create_task(task)
        for event in following.values():
            await event.wait()

    async def _begin(self, kind: ResourceType) -> str:
        """What must be known of a kind when it begins to be followed; the version from which it is to be."""
        if kind == POD:
            version = await self._ctx.client.version(kind, labels.OURS)
            edges = [pod async for pod in self._ctx.client.each(kind, selector=labels.OURS | labels.selector("edge"))]
            self._ctx.index.landlines.replace(edges)
            return version
        if kind != NAMESPACE and not any(kind in one.only_applied for one in self._kinds.values()):
            return await self._ctx.client.version(kind, labels.OURS)
        self._ctx.cache.lost(kind)
        found: list[Record] = []
        since = ""
        async for version, page in self._ctx.client.metadata(kind, labels.OURS):
            # Page by page: as a whole they would need the most memory of all that the operator does.
            found += [record(kind, item) for item in page]
            since = version
        self._ctx.cache.replace(kind, found, since)
        return since

    def add_all(self) -> None:
        """Ask for a look at every resource."""
        for kind in self._kinds:
            for name in self._ctx.index.of(kind):
                self.queue.add_apart((kind, name), APART_SECONDS)

    def notice(self, event_type: str | None, manifest: Mapping[str, Any]) -> None:
        """A watch event (`ADDED`, `MODIFIED`, `DELETED`, None for the first listing) about any watched object."""
        body: Manifest = dict(manifest)
        kind, metadata = body["kind"], body["metadata"]
        if kind in FINGERPRINTED and not self._news(event_type, body):
            return
        if kind in (TENANT.kind, VOICE_REGION.kind):
            self._resource_changed(event_type, body)
        elif kind == NODE.kind:
            if event_type == "DELETED":
                self._ctx.index.drop(kind, metadata["name"])
            else:
                self._ctx.index.put(body)
            self.add_all()
        elif (kind, metadata.get("namespace"), metadata["name"]) == (SECRET.kind, self._ctx.namespace, names.CA_SECRET):
            self._keeper.wake()
        elif self._ctx.cache.told(type_of(body), event_type or "ADDED", body):
            self._owned_changed(metadata.get("labels") or {})
            if kind == POD.kind and labels.EDGE_STATUS in (metadata.get("annotations") or {}):
                for name in self._ctx.index.landlines.told(body, gone=event_type == "DELETED"):
                    self.queue.add((TENANT.kind, name))

    def _news(self, event_type: str | None, body: Manifest) -> bool:
        """Whether the event tells something that matters."""
        identity = _identity(body)
        if event_type == "DELETED":
            self._fingerprints.pop(identity, None)
            return True
        seen = fingerprint(body)
        if self._fingerprints.get(identity) == seen:
            return False
        self._fingerprints[identity] = seen
        return True

    def _resource_changed(self, event_type: str | None, body: Manifest) -> None:
        kind, name = body["kind"], body["metadata"]["name"]
        before = self._ctx.index.of(kind).get(name)
        if event_type == "DELETED":
            self._ctx.index.drop(kind, name)
        else:
            self._ctx.index.put(body)
        if kind in self._kinds:
            self.queue.add((kind, name))
        # What it was before concerns others too: a number that is free now, a region that was left.
        for state in [body] if before is None else [before, body]:
            for other_kind, other in self._kinds.items():
                for other_name in other.concerned_by(state, self._ctx.index):
                    self.queue.add_apart((other_kind, other_name), APART_SECONDS)

    def _owned_changed(self, found: Mapping[str, str]) -> None:
        for kind, label in ((TENANT, labels.TENANT), (VOICE_REGION, labels.REGION)):
            name = found.get(label)
            if name and kind.kind in self._kinds:
                self.queue.add_apart((kind.kind, name), APART_SECONDS)

    async def _work(self) -> None:
        while True:
            await self.work_once()

    async def work_once(self) -> None:
        """Wait for a key and reconcile it; what fails comes again later and raises nothing."""
        key = await self.queue.get()
        name = controller_name(key)
        try:
            with (
                log_context(*key, uid=self._uid(key)),
                metrics.ACTIVE_WORKERS.labels(name).track_inprogress(),
                metrics.RECONCILE_SECONDS.labels(name).time(),
            ):
                result = await self._reconcile(key)
            metrics.RECONCILES.labels(name, result).inc()
        finally:
            self.queue.done(key)
            self.last_progress = time.monotonic()

    def _uid(self, key: Key) -> str:
        known = self._ctx.index.of(key[0]).get(key[1]) or {"metadata": {}}
        return str(known["metadata"].get("uid", ""))

    async def _reconcile(self, key: Key) -> Result:
        kind, name = key
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                wish = await self._reconcilers[kind].reconcile(name)
        except NotLeading as error:
            log.warning("stopped: %s", error)
            return self._failed(key)
        except (ApiError, aiohttp.ClientError, TimeoutError, ApplyRefused) as error:
            log.warning("failed, will be tried again: %s: %s", type(error).__name__, error)
            return self._failed(key, retry_after(error))
        except Exception:
            # A bug met by one resource must not end the work on the others.
            metrics.RECONCILE_PANICS.labels(controller_name(key)).inc()
            log.exception("failed, will be tried again")
            return self._failed(key)
        self.queue.succeeded(key)
        if wish is None:
            if name not in self._ctx.index.of(kind):
                self.queue.forget(key)
            return "success"
        self.queue.add_after(key, wish)
        return "requeue_after"

    def _failed(self, key: Key, at_least: float = 0.0) -> Result:
        metrics.RECONCILE_ERRORS.labels(controller_name(key)).inc()
        log.info("next try in %.1f s", self.queue.retry(key, at_least))
        return "error"

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            for kind in self._kinds:
                for name in self._ctx.index.of(kind):
                    # Spread out, so that a platform of thousands makes no wave.
                    self.queue.add_after((kind, name), random.uniform(0, RESYNC_SECONDS / 2))  # noqa: S311
