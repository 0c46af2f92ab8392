"""From watch events to reconciles: the queue, its workers, the periodic look at everything."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import aiohttp

from okitoki.kube import labels, names
from okitoki.kube.client import ApiError
from okitoki.kube.edge_report import LandlineMode, landline_modes
from okitoki.kube.lease import NotLeading
from okitoki.kube.resources import NODE, POD, SECRET, TENANT, VOICE_REGION, Manifest, ResourceType
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
ATTEMPT_SECONDS = 120.0
"""One reconcile that takes longer is given up and tried again: a hanging call must not hold a worker for ever."""

Key = tuple[str, str]
"""Kind and name of a Tenant or VoiceRegion."""


Result = Literal["success", "requeue_after", "error"]


def controller_name(key: Key) -> str:
    """As controller-runtime names its controllers and queues: the kind in lower case."""
    return key[0].lower()


class Controller:
    """Reconciles the resources of `kinds`; fed by `notice` with watch events."""

    def __init__(self, ctx: Context, kinds: Sequence[Kind[Any, Any]]) -> None:
        self._ctx = ctx
        self._kinds = {kind.resource.kind: kind for kind in kinds}
        self._reconcilers = {name: Reconciler(kind, ctx) for name, kind in self._kinds.items()}
        self._fingerprints: dict[tuple[str, str, str], str] = {}
        self._landlines: dict[tuple[str, str, str], dict[str, LandlineMode]] = {}
        self.queue_watch: metrics.QueueWatch[Key] = metrics.QueueWatch(controller_name)
        self.queue: WorkQueue[Key] = WorkQueue(self.queue_watch)
        self._keeper = AuthorityKeeper(ctx, self.add_all)
        for kind in self._kinds:
            metrics.MAX_CONCURRENT.labels(controller_name((kind, ""))).set(WORKERS)
        self.last_progress = time.monotonic()

    @property
    def watched(self) -> list[ResourceType]:
        """Kinds of owned objects that `notice` must be told about."""
        return list({rt.kind: rt for kind in self._kinds.values() for rt in kind.watched}.values())

    async def run(self) -> None:
        """Load the index, then work until cancelled."""
        await self._ctx.index.load(self._ctx.client)
        self.add_all()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keeper.run())
                group.create_task(self._resync())
                for _ in range(WORKERS):
                    group.create_task(self._work())
        finally:
            self.queue.close()

    def add_all(self) -> None:
        """Ask for a look at every resource."""
        for kind in self._kinds:
            for name in self._ctx.index.of(kind):
                self.queue.add((kind, name))

    def notice(self, event_type: str | None, manifest: Mapping[str, Any]) -> None:
        """A watch event (`ADDED`, `MODIFIED`, `DELETED`, None for the first listing) about any watched object."""
        body: Manifest = dict(manifest)
        metadata = body["metadata"]
        identity = (body["kind"], metadata.get("namespace", ""), metadata["name"])
        if event_type == "DELETED":
            self._fingerprints.pop(identity, None)
        else:
            seen = fingerprint(body)
            if self._fingerprints.get(identity) == seen:
                return
            self._fingerprints[identity] = seen
        if body["kind"] in (TENANT.kind, VOICE_REGION.kind):
            self._resource_changed(event_type, body)
        elif body["kind"] == NODE.kind:
            if event_type == "DELETED":
                self._ctx.index.drop(NODE.kind, metadata["name"])
            else:
                self._ctx.index.put(body)
            self.add_all()
        elif identity == (SECRET.kind, self._ctx.namespace, names.CA_SECRET):
            self._keeper.wake()
        else:
            self._owned_changed(metadata.get("labels") or {})
            if body["kind"] == POD.kind and labels.EDGE_STATUS in (metadata.get("annotations") or {}):
                self._edge_spoke(identity, {} if event_type == "DELETED" else landline_modes(body))

    def _edge_spoke(self, identity: tuple[str, str, str], modes: dict[str, LandlineMode]) -> None:
        """Tenants whose calls go elsewhere now. A pod that is gone or has lost the SIP address says nothing any more,
        which is no news of a tenant."""
        before = self._landlines.pop(identity, {})
        for name, mode in modes.items():
            if before.get(name) != mode:
                self.queue.add((TENANT.kind, name))
        if modes:
            self._landlines[identity] = modes

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
                    self.queue.add((other_kind, other_name))

    def _owned_changed(self, found: Mapping[str, str]) -> None:
        for kind, label in ((TENANT, labels.TENANT), (VOICE_REGION, labels.REGION)):
            name = found.get(label)
            if name and kind.kind in self._kinds:
                self.queue.add((kind.kind, name))

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
