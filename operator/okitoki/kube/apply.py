"""One apply loop for every kind: wanted objects in order, then what is owned and no longer wanted goes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from okitoki.kube import labels
from okitoki.kube.client import ApiError, Client
from okitoki.kube.diff import difference, stamp
from okitoki.kube.drift import Drift, Repairs, others
from okitoki.kube.metadata_cache import MetadataCache
from okitoki.kube.resources import Manifest, ObjectKey, annotation, type_of

log = logging.getLogger(__name__)

Live = Mapping[ObjectKey, Manifest]
"""The objects found in the cluster, by key."""

CREATE_ONLY_WHEN_ABSENT = {"Namespace", "Secret"}
"""Made by POST, never by apply, while absent: whoever comes second is refused, so that no namespace is adopted and no
password is overwritten by a leader that was frozen between reading and writing."""


@dataclass(slots=True)
class Applied:
    """What one apply did. `failed`: what the API server refused, with its message. `drifted`: what somebody else had
    changed, whether it was set back or is to be later."""

    written: list[ObjectKey] = field(default_factory=list)
    pruned: list[ObjectKey] = field(default_factory=list)
    failed: dict[ObjectKey, str] = field(default_factory=dict)
    drifted: dict[ObjectKey, Drift] = field(default_factory=dict)

    @property
    def contested(self) -> dict[ObjectKey, Drift]:
        """What is not as wanted now, because somebody changes it again and again."""
        return {key: drift for key, drift in self.drifted.items() if drift.wait}


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known from before: `repairs` of what was written, which make what is contested wait, and in `cache` what
    was found as wanted. `unchanged`: objects that have not been read, because they are as they were then."""

    repairs: Repairs = field(default_factory=Repairs)
    cache: MetadataCache = field(default_factory=MetadataCache)
    unchanged: frozenset[ObjectKey] = frozenset()


async def apply_all(
    client: Client, wanted: Sequence[Manifest], live: Live, prunable: Iterable[ObjectKey], memory: Memory
) -> Applied:
    """Bring the cluster to `wanted`, in order, writing only what differs, then prune.

    A refusal of one object (4xx) is recorded and the others go on, except a namespace, without which nothing can
    follow. Everything else (no answer, 5xx, 409, 429) is raised: the caller tries the whole again later.
    """
    result = Applied()
    keep = set()
    try:
        for manifest in wanted:
            key = ObjectKey.of(manifest)
            keep.add(key)
            try:
                await _apply_one(client, stamp(manifest), live.get(key), memory, result)
            except ApiError as error:
                if error.status in (401, 409, 429) or error.status >= 500 or key.kind == "Namespace":
                    raise
                result.failed[key] = error.message
    finally:
        # One line: a new tenant has 25 objects.
        if created := [str(key) for key in result.written if key not in live]:
            log.info("created %s", ", ".join(created))
    for key in prunable:
        if key not in keep:
            log.info("removing %s: no longer wanted", key)
            await client.delete(type_of(live[key]), key.name, key.namespace or None, uid=live[key]["metadata"]["uid"])
            memory.repairs.gone(key)
            result.pruned.append(key)
    return result


def prunable(live: Live, kinds: Iterable[str], owner: Mapping[str, str]) -> list[ObjectKey]:
    """Objects of `kinds` that carry this owner's labels and belong to no controller: only those may be removed.

    Patroni's ConfigMaps carry neither label; pods, ReplicaSets and EndpointSlices have a controller.
    """
    wanted = {**labels.OURS, **owner}
    known = set(kinds)
    return sorted(
        key
        for key, manifest in live.items()
        if key.kind in known
        and labels.matches(manifest["metadata"].get("labels") or {}, wanted)
        and not any(ref.get("controller") for ref in manifest["metadata"].get("ownerReferences") or [])
        and "deletionTimestamp" not in manifest["metadata"]
    )


async def _apply_one(
    client: Client, manifest: Manifest, live: Manifest | None, memory: Memory, result: Applied
) -> None:
    key, content = ObjectKey.of(manifest), manifest["metadata"]["annotations"][labels.APPLIED_HASH]
    repairs, drift = memory.repairs, None
    if live is not None:
        if live["metadata"].get("deletionTimestamp"):
            # It is made anew once it is gone; its deletion triggers the next reconcile.
            return
        if key in memory.unchanged and content == annotation(live, labels.APPLIED_HASH):
            return
        if (found := difference(manifest, live)) is None:
            memory.cache.compared(type_of(manifest), live)
            return
        if content == annotation(live, labels.APPLIED_HASH) or repairs.knows(key, content):
            result.drifted[key] = drift = Drift(found, others(live), repairs.wait(key))
            if drift.wait:
                return
        log.info("updating %s: %s", key, drift or f"{found} differs")
    if live is None and key.kind in CREATE_ONLY_WHEN_ABSENT:
        answer = await client.create(manifest)
    else:
        answer = await _applied(client, manifest, live)
    memory.cache.answered(type_of(manifest), answer, as_wanted=difference(manifest, answer) is None)
    repairs.written(key, content, again=drift is not None)
    result.written.append(key)


async def _applied(client: Client, manifest: Manifest, live: Manifest | None) -> Manifest:
    """Server-side apply, also where what somebody else put in does not go together with what is wanted.

    Apply merges lists item by item. A Service's port that somebody gave another number is another item, of the same
    name as ours, and both together are refused as a whole ("Duplicate value"): such an object is written whole first.
    """
    try:
        return await client.apply(manifest)
    except ApiError as error:
        if error.status != 422 or live is None:
            raise
        log.info("%s is refused beside what others put in, and is written whole: %s", ObjectKey.of(manifest), error)
        try:
            await _write_whole(client, manifest, live)
        except ApiError as again:
            if again.status != 422:
                raise
            raise error from again  # it was not for what others put in
        return await client.apply(manifest)


async def _write_whole(client: Client, manifest: Manifest, live: Manifest) -> None:
    """Compare and set by merge patch (RFC 7396), where a list is a whole. In two writes: a patch owns what it says
    beside apply, so that apply would never again give anything of it up; the second one disowns it."""
    key, kind = ObjectKey.of(manifest), type_of(manifest)

    async def patch(metadata: Manifest, content: Manifest) -> Manifest:
        return await client.merge_patch(kind, key.name, {**content, "metadata": metadata}, namespace=key.namespace)

    content = {name: value for name, value in manifest.items() if name != "metadata"}
    version = live["metadata"]["resourceVersion"]
    # Should we end between these writes, the object is not taken for applied.
    written = await patch({"resourceVersion": version, "annotations": {labels.APPLIED_HASH: None}}, content)
    metadata = written["metadata"]
    fields = [entry for entry in metadata["managedFields"] if not _patched_by_us(entry)]
    await patch({"resourceVersion": metadata["resourceVersion"], "managedFields": fields}, {})


def _patched_by_us(entry: Mapping[str, Any]) -> bool:
    return (entry["manager"], entry["operation"]) == (labels.FIELD_MANAGER, "Update") and "subresource" not in entry
