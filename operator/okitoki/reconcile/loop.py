"""One path for create, update, drift, timer and deletion."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from okitoki.kube import labels
from okitoki.kube.apply import Applied, Memory, apply_all, prunable
from okitoki.kube.client import ApiError
from okitoki.kube.drift import Repairs
from okitoki.kube.events import EventType
from okitoki.kube.resources import NAMESPACE, Manifest, ObjectKey, ResourceType
from okitoki.metrics.domain import LABELS, Measures, Owner
from okitoki.reconcile import conditions as cond
from okitoki.reconcile.conditions import Condition
from okitoki.reconcile.kind import Context, InvalidResource, Kind, Outcome, Scope

log = logging.getLogger(__name__)

FINALIZE_RECHECK_SECONDS = 5.0


class Reconciler:
    """Brings one resource of one kind, named at each call, to what its spec says."""

    def __init__(self, kind: Kind[Any, Any], ctx: Context, repairs: Repairs | None = None) -> None:
        self.kind = kind
        self.ctx = ctx
        self._repairs = repairs or Repairs()

    async def reconcile(self, name: str) -> float | None:
        """One pass; returns after how many seconds to look again, or None for no wish.

        Raises: whatever a step raises; the caller tries again with back-off.
        """
        raw = await self.ctx.client.get(self.kind.resource, name)
        if raw is None:
            self.ctx.series.drop(self._owner(name))
            return None
        if raw["metadata"].get("deletionTimestamp"):
            return await self._finalize(raw)
        if labels.FINALIZER not in (raw["metadata"].get("finalizers") or []):
            raw = await self._set_finalizers(raw, [*(raw["metadata"].get("finalizers") or []), labels.FINALIZER])
        if not (raw.get("status") or {}).get("conditions"):
            # Whoever waits for it must not take the absence of conditions for anything.
            first = cond.progressing(cond.READY, "Reconciling", "seen for the first time, its objects are being made")
            raw = await self._report(raw, [first], {})
        try:
            resource = self.kind.parse(raw)
        except InvalidResource as error:
            await self._report(raw, invalid(error), {})
            self._measure(name, invalid(error), {})
            return None
        return await self._converge(raw, resource)

    async def _converge(self, raw: Manifest, resource: Any) -> float | None:
        kind, ctx = self.kind, self.ctx
        scopes = kind.scopes(resource, ctx.index)
        live, unchanged = await self._list(scopes)
        observed = await kind.observe(ctx, resource, live)
        observed = await kind.prepare(ctx, resource, observed)
        wanted = kind.build(resource, observed)
        superfluous = self._prunable(raw, live, scopes) if kind.may_prune(resource, observed) else []
        memory = Memory(self._repairs, ctx.cache, unchanged)
        applied = await apply_all(ctx.client, wanted, live, superfluous, memory)
        await self._tell_drift(raw, applied)
        outcome = Outcome(applied, before=raw.get("status") or {})
        for action in kind.decide(resource, observed):
            log.info("%s: %s", action.name, action.reason)
            outcome.acted[action.name] = await kind.act(ctx, resource, observed, action)
        found = final_conditions(kind.conditions(resource, observed, outcome), outcome)
        await self._report(raw, found, kind.status(resource, observed, outcome))
        self._measure(raw["metadata"]["name"], found, kind.measures(resource, observed))
        if outcome.applied.failed:
            raise ApplyRefused(outcome.applied.failed)
        wishes = [kind.recheck_seconds(resource, observed, outcome), *(d.wait for d in applied.contested.values())]
        return min((wish for wish in wishes if wish is not None), default=None)

    async def _tell_drift(self, raw: Manifest, applied: Applied) -> None:
        for key, drift in applied.drifted.items():
            if not drift.wait:
                await self.ctx.events.record(raw, "Normal", "DriftRepaired", f"{key}: {drift}, and was set back")

    async def _list(self, scopes: Sequence[Scope]) -> tuple[dict[ObjectKey, Manifest], frozenset[ObjectKey]]:
        """The objects that are there, and which of them are unchanged and have not been read."""
        own = [await self._namespace(name) for scope in scopes if scope.namespace is None for name in scope.names]
        absent = {name for name, found in own if found is None}
        unchanged: list[Manifest] = []
        reads = []
        for scope in scopes:
            # In a namespace that is not there, there is nothing.
            if scope.namespace is None or scope.namespace in absent:
                continue
            for kind in scope.kinds:
                known = self.ctx.cache.unchanged(kind, scope.namespace) if self._may_be_unread(scope, kind) else None
                if known is None:
                    reads.append(self._read(scope, kind))
                else:
                    unchanged += known
        live = [*(found for _, found in own if found), *unchanged]
        live += [item for found in await asyncio.gather(*reads) for item in found]
        return {ObjectKey.of(item): item for item in live}, frozenset(map(ObjectKey.of, unchanged))

    async def _namespace(self, name: str) -> tuple[str, Manifest | None]:
        return name, self.ctx.cache.namespace(name) or await self.ctx.client.get(NAMESPACE, name)

    def _may_be_unread(self, scope: Scope, kind: ResourceType) -> bool:
        return kind in self.kind.only_applied and not scope.selector and not scope.names

    async def _read(self, scope: Scope, kind: ResourceType) -> list[Manifest]:
        if not scope.names:
            return await self.ctx.client.list(kind, scope.namespace, scope.selector)
        return [item for name in scope.names if (item := await self.ctx.client.get(kind, name, scope.namespace))]

    def _prunable(self, raw: Manifest, live: Mapping[ObjectKey, Manifest], scopes: Sequence[Scope]) -> list[ObjectKey]:
        owner = {self.kind.owner_label: raw["metadata"]["name"]}
        kinds = {kind.kind for scope in scopes if scope.namespace is not None for kind in scope.kinds}
        return prunable(live, kinds, owner)

    async def _finalize(self, raw: Manifest) -> float | None:
        finalizers = raw["metadata"].get("finalizers") or []
        if labels.FINALIZER not in finalizers:
            return None
        waiting = await self.kind.finalize(self.ctx, raw)
        if waiting is not None:
            deleting = cond.progressing(cond.READY, "Deleting", waiting)
            await self._report(raw, [deleting], {})
            return FINALIZE_RECHECK_SECONDS
        await self._set_finalizers(raw, [item for item in finalizers if item != labels.FINALIZER])
        return None

    async def _set_finalizers(self, raw: Manifest, finalizers: list[str]) -> Manifest:
        # With the resourceVersion: a list is replaced as a whole, and another's finalizer must not get lost.
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": raw["metadata"]["resourceVersion"]}}
        return await self.ctx.client.merge_patch(self.kind.resource, raw["metadata"]["name"], patch)

    async def _report(self, raw: Manifest, found: Sequence[Condition], extra: Mapping[str, Any]) -> Manifest:
        """Patch the status if it says something else now, and tell the news as events; the resource as it is then."""
        old = raw.get("status") or {}
        generation = raw["metadata"]["generation"]
        status: dict[str, Any] = {
            **extra,
            "observedGeneration": generation,
            "conditions": cond.merge(old.get("conditions") or [], found, generation, self.ctx.now()),
        }
        patch = status_patch(old, status)
        if patch:
            raw = await self.ctx.client.merge_patch(
                self.kind.resource, raw["metadata"]["name"], {"status": patch}, subresource="status"
            )
        for condition in cond.news(old.get("conditions") or [], found):
            level: EventType = "Normal" if condition.status == "True" and not condition.abnormal else "Warning"
            await self.ctx.events.record(raw, level, condition.reason, condition.message)
        for told in self.kind.news(old, status):
            await self.ctx.events.record(raw, "Warning" if told.warning else "Normal", told.reason, told.message)
            if told.counter:
                self.ctx.series.count(self._owner(raw["metadata"]["name"]), told.counter)
        return raw

    def _owner(self, name: str) -> Owner:
        return self.kind.resource.kind, name

    def _measure(self, name: str, found: Sequence[Condition], further: Measures) -> None:
        holds = {condition.type: float(condition.status == "True") for condition in found}
        prefix = f"okitoki_{LABELS[self.kind.resource.kind]}"
        common = {f"{prefix}_{word.lower()}": holds.get(word, 0.0) for word in (cond.READY, cond.STALLED)}
        self.ctx.series.put(self._owner(name), {**common, **further})


def status_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) from `old` to `new`, empty when they say the same; None in `new` means absent."""
    patch: dict[str, Any] = {key: None for key in old if new.get(key) is None}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping):
            inner = status_patch(before if isinstance(before, Mapping) else {}, value)
            if inner or not isinstance(before, Mapping):
                patch[key] = inner
        elif value is not None and value != before:
            patch[key] = value
    return patch


class ApplyRefused(Exception):
    """The API server refused objects; they are tried again with back-off, and the condition says which and why."""

    def __init__(self, failed: Mapping[ObjectKey, str]) -> None:
        super().__init__("; ".join(f"{key}: {message}" for key, message in failed.items()))


def retry_after(error: BaseException) -> float:
    """The least delay that an error asks for, in seconds."""
    return error.retry_after or 0.0 if isinstance(error, ApiError) else 0.0


def final_conditions(own: Sequence[Condition], outcome: Outcome) -> list[Condition]:
    """A kind's own conditions with those that the loop adds: `Applied`, and `Ready`, which sums up."""
    found = [*own, _applied(outcome)]
    return [*found, cond.summary(found)]


def _applied(outcome: Outcome) -> Condition:
    if not outcome.applied.failed and (contested := outcome.applied.contested):
        found, drift = next(iter(contested.items()))
        rest = f" (and {len(contested) - 1} more)" if len(contested) > 1 else ""
        mend = "it is set back ever more slowly; make that manager leave the field, or change the spec here"
        return cond.failing(cond.APPLIED, "Contested", f"{found}: {drift} again and again{rest}: {mend}")
    if not outcome.applied.failed:
        return cond.good(cond.APPLIED, "Applied", "all objects are as wanted")
    key, message = next(iter(outcome.applied.failed.items()))
    others = len(outcome.applied.failed) - 1
    text = f"{key}: {message}" + (f" (and {others} more)" if others else "")
    return cond.failing(cond.APPLIED, "ApplyRefused", text)


def invalid(error: InvalidResource) -> list[Condition]:
    """The conditions of a resource that cannot be acted on."""
    text = f"{error}; nothing is changed until the spec is mended"
    return [
        Condition(cond.STALLED, "True", "InvalidSpec", text, warning=True, abnormal=True),
        Condition(cond.READY, "False", "InvalidSpec", text),
    ]
