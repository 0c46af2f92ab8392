"""All Tenants, VoiceRegions and Nodes as the watch last told: for what needs the others (who claims a number).

Of each object no more is kept than is asked for, because there are thousands: no managed fields, and no status of a
Tenant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from okitoki.kube.client import Client
from okitoki.kube.resources import NODE, TENANT, VOICE_REGION, Manifest
from okitoki.reconcile.landlines import Landlines

_METADATA = ("name", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")


class Index:
    """Slim objects by kind and name. Filled by `load` before the first reconcile, then by watch events."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Manifest]] = {TENANT.kind: {}, VOICE_REGION.kind: {}, NODE.kind: {}}
        self._by_number: dict[str, set[str]] = {}
        self.landlines = Landlines()
        """What the edges' pods say of tenants' calls."""

    @property
    def tenants(self) -> Mapping[str, Manifest]:
        """Tenants by name."""
        return self._objects[TENANT.kind]

    @property
    def regions(self) -> Mapping[str, Manifest]:
        """VoiceRegions by name."""
        return self._objects[VOICE_REGION.kind]

    @property
    def nodes(self) -> Mapping[str, Manifest]:
        """Nodes by name: their labels, addresses and pod ranges."""
        return self._objects[NODE.kind]

    def of(self, kind: str) -> Mapping[str, Manifest]:
        """Objects of a kind by name."""
        return self._objects[kind]

    def sharing_numbers(self, tenant: Manifest) -> list[str]:
        """Names of the tenants, itself among them if it is known, that name one of its telephone numbers."""
        return sorted({name for number in _numbers(tenant) for name in self._by_number.get(number, ())})

    async def load(self, client: Client) -> None:
        """Read everything once."""
        for kind in (TENANT, VOICE_REGION, NODE):
            for name in list(self._objects[kind.kind]):
                self.drop(kind.kind, name)
            async for item in client.each(kind):
                self.put(item)

    def put(self, manifest: Manifest) -> None:
        """An object was added or changed."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self.drop(kind, name)
        kept = _node(manifest) if kind == NODE.kind else _slim(manifest)
        self._objects[kind][name] = kept
        if kind == TENANT.kind:
            for number in _numbers(kept):
                self._by_number.setdefault(number, set()).add(name)

    def drop(self, kind: str, name: str) -> None:
        """An object is gone."""
        before = self._objects[kind].pop(name, None)
        if before is None or kind != TENANT.kind:
            return
        for number in _numbers(before):
            named = self._by_number[number]
            named.discard(name)
            if not named:
                del self._by_number[number]


def by_age(objects: Iterable[Manifest]) -> list[Manifest]:
    """Oldest first; the order in which claims to the same thing are served."""
    return sorted(objects, key=lambda o: (o["metadata"].get("creationTimestamp", ""), o["metadata"]["name"]))


def _numbers(tenant: Manifest) -> set[str]:
    return {item.get("number", "") for item in (tenant.get("spec") or {}).get("numbers") or []}


def _slim(manifest: Manifest) -> Manifest:
    metadata = {key: manifest["metadata"][key] for key in _METADATA if key in manifest["metadata"]}
    head: Manifest = {key: manifest[key] for key in ("apiVersion", "kind") if key in manifest}
    spoken = {"status": manifest["status"]} if manifest["kind"] == VOICE_REGION.kind and "status" in manifest else {}
    return {**head, "metadata": metadata, "spec": manifest.get("spec") or {}, **spoken}


def _node(manifest: Manifest) -> Manifest:
    status: dict[str, Any] = manifest.get("status") or {}
    metadata = {"name": manifest["metadata"]["name"], "labels": manifest["metadata"].get("labels") or {}}
    spec = {"podCIDRs": (manifest.get("spec") or {}).get("podCIDRs") or []}
    return {"kind": NODE.kind, "metadata": metadata, "spec": spec, "status": {"addresses": status.get("addresses")}}
