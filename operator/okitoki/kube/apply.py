"""One apply loop for every kind: wanted objects in order, then what is owned and no longer wanted goes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from okitoki.kube import labels
from okitoki.kube.client import ApiError, Client
from okitoki.kube.diff import difference, stamp
from okitoki.kube.resources import Manifest, ObjectKey, type_of

log = logging.getLogger(__name__)

Live = Mapping[ObjectKey, Manifest]
"""The objects found in the cluster, by key."""

CREATE_ONLY_WHEN_ABSENT = {"Namespace", "Secret"}
"""Made by POST, never by apply, while absent: whoever comes second is refused, so that no namespace is adopted and no
password is overwritten by a leader that was frozen between reading and writing."""


@dataclass(slots=True)
class Applied:
    """What one apply did; `failed` holds what the API server refused, with its message."""

    written: list[ObjectKey] = field(default_factory=list)
    pruned: list[ObjectKey] = field(default_factory=list)
    failed: dict[ObjectKey, str] = field(default_factory=dict)


async def apply_all(client: Client, wanted: Sequence[Manifest], live: Live, prunable: Iterable[ObjectKey]) -> Applied:
    """Bring the cluster to `wanted`, in order, writing only what differs, then prune.

    A refusal of one object (4xx) is recorded and the others go on, except a namespace, without which nothing can
    follow. Everything else (no answer, 5xx, 409, 429) is raised: the caller tries the whole again later.
    """
    result = Applied()
    keep = set()
    for manifest in wanted:
        key = ObjectKey.of(manifest)
        keep.add(key)
        try:
            if await _apply_one(client, stamp(manifest), live.get(key)):
                result.written.append(key)
        except ApiError as error:
            if error.status in (401, 409, 429) or error.status >= 500 or key.kind == "Namespace":
                raise
            result.failed[key] = error.message
    for key in prunable:
        if key not in keep:
            log.info("removing %s: no longer wanted", key)
            await client.delete(type_of(live[key]), key.name, key.namespace or None, uid=live[key]["metadata"]["uid"])
            result.pruned.append(key)
    return result


def prunable(live: Live, kinds: Iterable[str], owner: Mapping[str, str]) -> list[ObjectKey]:
    """Objects of `kinds` that carry this owner's labels and belong to no controller: only those may be removed.

    Patroni's ConfigMaps carry neither label; pods, ReplicaSets and EndpointSlices have a controller.
    """
    wanted = {labels.MANAGED_BY: labels.MANAGER, **owner}
    known = set(kinds)
    return sorted(
        key
        for key, manifest in live.items()
        if key.kind in known
        and labels.matches(manifest["metadata"].get("labels") or {}, wanted)
        and not any(ref.get("controller") for ref in manifest["metadata"].get("ownerReferences") or [])
        and "deletionTimestamp" not in manifest["metadata"]
    )


async def _apply_one(client: Client, manifest: Manifest, live: Manifest | None) -> bool:
    key = ObjectKey.of(manifest)
    if live is None:
        log.info("creating %s", key)
        if key.kind in CREATE_ONLY_WHEN_ABSENT:
            await client.create(manifest)
        else:
            await client.apply(manifest)
        return True
    if live["metadata"].get("deletionTimestamp"):
        # It is made anew once it is gone; its deletion triggers the next reconcile.
        return False
    found = difference(manifest, live)
    if found is None:
        return False
    log.info("updating %s: %s differs", key, found)
    await client.apply(manifest)
    return True
