"""All Tenants and VoiceRegions as the watch last told: for decisions that need the others (who claims a number)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from okitoki.kube.client import Client
from okitoki.kube.resources import TENANT, VOICE_REGION, Manifest


class Index:
    """Raw objects by kind and name. Filled by `load` before the first reconcile, then by watch events."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Manifest]] = {TENANT.kind: {}, VOICE_REGION.kind: {}}

    @property
    def tenants(self) -> Mapping[str, Manifest]:
        """Tenants by name."""
        return self._objects[TENANT.kind]

    @property
    def regions(self) -> Mapping[str, Manifest]:
        """VoiceRegions by name."""
        return self._objects[VOICE_REGION.kind]

    def of(self, kind: str) -> Mapping[str, Manifest]:
        """Objects of a kind by name."""
        return self._objects[kind]

    async def load(self, client: Client) -> None:
        """Read everything once."""
        for kind in (TENANT, VOICE_REGION):
            self._objects[kind.kind] = {item["metadata"]["name"]: item for item in await client.list(kind)}

    def put(self, manifest: Manifest) -> None:
        """An object was added or changed."""
        self._objects[manifest["kind"]][manifest["metadata"]["name"]] = manifest

    def drop(self, kind: str, name: str) -> None:
        """An object is gone."""
        self._objects[kind].pop(name, None)


def by_age(objects: Iterable[Manifest]) -> list[Manifest]:
    """Oldest first; the order in which claims to the same thing are served."""
    return sorted(objects, key=lambda o: (o["metadata"].get("creationTimestamp", ""), o["metadata"]["name"]))
