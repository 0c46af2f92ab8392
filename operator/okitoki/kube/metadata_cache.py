"""What watches tell of owned objects' metadata: enough to know that an object has not changed since it was compared.

Kept of an object are some hundred bytes, none of them from its content
(docs/decisions/0017-owned-objects-are-followed-not-kept.md). It counts as unchanged while its resourceVersion is the
one of which the whole object was compared with what is wanted, or with which our own write was answered. Versions of
one kind are compared as numbers (KEP-5504), and a watch tells them in order.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from okitoki.kube import labels
from okitoki.kube.resources import NAMESPACE, Manifest, ResourceType, annotation

TRUSTED_SECONDS = 3600.0
"""An object is compared anew after this, whatever the watch has told: no event that was lost is lost for ever."""


@dataclass(slots=True)
class Record:
    """What is kept of one object."""

    namespace: str
    name: str
    version: int
    uid: str
    content: str
    """The hash of what was applied, as its annotation says."""
    owner: tuple[str, str] | None
    """The label by which it is known whose it is, and its value."""
    controlled: bool
    deleting: bool
    manifest: Manifest | None
    """Of a namespace, all its metadata: there is nothing else in it that we want or ask for."""
    compared: float | None = None


class MetadataCache:
    """Records of the kinds that are followed; asked for a kind that is not, it knows nothing. One event loop's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[str, dict[str, dict[str, Record]]] = {}
        self._told: dict[str, int] = {}

    def replace(self, kind: ResourceType, records: Iterable[Record], version: str) -> None:
        """Everything of a kind as it was at a version; from there on `told` is to hear of every change."""
        before, found = self._records.get(kind.kind, {}), dict[str, dict[str, Record]]()
        for listed in records:
            old = before.get(listed.namespace, {}).get(listed.name)
            # What was compared stays so through a gap; what was written meanwhile is newer than the list.
            kept = old if old is not None and old.version >= listed.version else listed
            found.setdefault(listed.namespace, {})[listed.name] = kept
        self._records[kind.kind], self._told[kind.kind] = found, int(version)

    def lost(self, kind: ResourceType) -> None:
        """Changes may have been missed: nothing is known of the kind until `replace`."""
        self._told.pop(kind.kind, None)

    def told(self, kind: ResourceType, event: str, item: Mapping[str, Any]) -> bool:
        """A watch event; whether it tells something that was not known from the answer to our own write."""
        if kind.kind not in self._told:
            return True
        news = record(kind, item)
        self._told[kind.kind] = max(self._told[kind.kind], news.version)
        known = self._records[kind.kind].setdefault(news.namespace, {})
        old = known.get(news.name)
        if old is not None and old.version >= news.version:
            return old.compared is None
        known.pop(news.name, None)
        if event != "DELETED":
            known[news.name] = news
        elif not known:
            del self._records[kind.kind][news.namespace]
        return True

    def answered(self, kind: ResourceType, item: Mapping[str, Any], *, as_wanted: bool) -> None:
        """What the API server answered to our write; `as_wanted`: it holds what was written."""
        if kind.kind not in self._told:
            return
        written = record(kind, item)
        known = self._records[kind.kind].setdefault(written.namespace, {})
        old = known.get(written.name)
        if old is not None and old.version > written.version:
            return
        # If the watch is ahead of the answer and knows no such object, it may be gone already: it is looked at again.
        vanished = old is None and written.version <= self._told[kind.kind]
        written.compared = self._clock() if as_wanted and not vanished else None
        known[written.name] = written

    def compared(self, kind: ResourceType, item: Mapping[str, Any]) -> None:
        """A whole object was read and is as wanted."""
        metadata = item["metadata"]
        known = self._of(kind, metadata.get("namespace", "")).get(metadata["name"])
        if known is not None and known.version == int(metadata["resourceVersion"]):
            known.compared = self._clock()

    def unchanged(self, kind: ResourceType, namespace: str) -> list[Manifest] | None:
        """What is there of a kind in a namespace, of each only whose it is and the hash of what was applied.

        None unless all of it is unchanged: then it must be read.
        """
        if kind.kind not in self._told:
            return None
        since, known = self._clock() - TRUSTED_SECONDS, self._of(kind, namespace).values()
        if any(item.compared is None or item.compared < since or item.deleting for item in known):
            return None
        return [_manifest(kind, item) for item in known]

    def namespace(self, name: str) -> Manifest | None:
        """A namespace of ours without its status; None when it must be asked for: there is none, or a stranger's."""
        known = self._of(NAMESPACE, "").get(name) if NAMESPACE.kind in self._told else None
        return known.manifest if known else None

    def _of(self, kind: ResourceType, namespace: str) -> Mapping[str, Record]:
        return self._records.get(kind.kind, {}).get(namespace, {})


def record(kind: ResourceType, item: Mapping[str, Any]) -> Record:
    """What is kept of an object, whole or only its metadata."""
    metadata = item["metadata"]
    found = metadata.get("labels") or {}
    owner = next(((label, found[label]) for label in (labels.TENANT, labels.REGION) if label in found), None)
    return Record(
        # There are thousands of each: names, namespaces and owners are kept once.
        namespace=sys.intern(metadata.get("namespace", "")),
        name=sys.intern(metadata["name"]),
        version=int(metadata["resourceVersion"]),
        uid=metadata["uid"],
        content=annotation(item, labels.APPLIED_HASH),
        owner=(owner[0], sys.intern(owner[1])) if owner and labels.matches(found, labels.OURS) else None,
        controlled=any(ref.get("controller") for ref in metadata.get("ownerReferences") or []),
        deleting="deletionTimestamp" in metadata,
        manifest=_namespace(metadata) if kind == NAMESPACE else None,
    )


def _namespace(metadata: Mapping[str, Any]) -> Manifest:
    kept = {key: metadata[key] for key in _NAMESPACE_KEYS if key in metadata}
    # Who wrote it is told when it has been changed; which fields, takes the most room.
    kept["managedFields"] = [
        {key: value for key, value in entry.items() if key != "fieldsV1"}
        for entry in metadata.get("managedFields") or []
    ]
    return {"apiVersion": NAMESPACE.api_version, "kind": NAMESPACE.kind, "metadata": kept}


def _manifest(kind: ResourceType, known: Record) -> Manifest:
    metadata: dict[str, Any] = {
        "name": known.name,
        "namespace": known.namespace,
        "uid": known.uid,
        "resourceVersion": str(known.version),
        "labels": {**labels.OURS, known.owner[0]: known.owner[1]} if known.owner else {},
        "annotations": {labels.APPLIED_HASH: known.content},
        "ownerReferences": [{"controller": True}] if known.controlled else [],
    }
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


_NAMESPACE_KEYS = ("name", "uid", "resourceVersion", "labels", "annotations", "deletionTimestamp")
