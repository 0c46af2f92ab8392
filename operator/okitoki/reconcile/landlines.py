"""Where tenants' calls go, by the latest word of each edge pod: parsed once for each word, not for each tenant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from okitoki.kube import labels
from okitoki.kube.edge_report import LandlineMode, landline_modes
from okitoki.kube.resources import Manifest


@dataclass(frozen=True, slots=True)
class _Word:
    version: int
    region: str
    modes: Mapping[str, LandlineMode]


class Landlines:
    """Filled by the watch of pods."""

    def __init__(self) -> None:
        self._words: dict[str, _Word] = {}
        self.known = False
        """Whether the watch has begun: before, the pods must be asked for."""

    def replace(self, pods: Iterable[Manifest]) -> None:
        """The edge pods that are there, when the watch begins."""
        self._words = {}
        for pod in pods:
            self.told(pod)
        self.known = True

    def told(self, pod: Manifest, *, gone: bool = False) -> list[str]:
        """A pod of an edge speaks or is gone; the tenants whose calls go elsewhere now.

        A pod that is gone or has lost the SIP address says nothing any more, which is no news of a tenant."""
        metadata = pod["metadata"]
        identity, version = f"{metadata.get('namespace')}/{metadata['name']}", int(metadata["resourceVersion"])
        before = self._words.get(identity)
        if before is not None and before.version > version:
            return []
        if gone:
            self._words.pop(identity, None)
            return []
        modes = landline_modes(pod)
        self._words[identity] = _Word(version, (metadata.get("labels") or {}).get(labels.REGION, ""), modes)
        return [name for name, mode in modes.items() if before is None or before.modes.get(name) != mode]

    def of(self, region: str, tenant: str) -> LandlineMode | None:
        """Where a tenant's calls in a region go; None when they never went to landlines."""
        said = (word.modes.get(tenant) for word in self._words.values() if word.region == region)
        return latest(mode for mode in said if mode is not None)


def latest(said: Iterable[LandlineMode]) -> LandlineMode | None:
    """The latest of what several pods say."""
    return max(said, key=lambda mode: (mode.since, mode.switches), default=None)
