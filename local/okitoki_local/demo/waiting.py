"""Waiting for resources to become Ready, telling what they say of themselves on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from okitoki_local.progress import say
from okitoki_local.system import LocalClusterError

RESOURCES = "voiceregions.platform.oki-toki.net,tenants.platform.oki-toki.net"
HEARTBEAT_SECONDS = 20.0


@dataclass(frozen=True)
class State:
    """One condition of one resource."""

    resource: str
    condition: str
    status: str
    reason: str
    message: str

    @property
    def kind(self) -> tuple[str, str]:
        """What makes it another state."""
        return self.status, self.reason

    def line(self) -> str:
        text = f"{self.resource}: {self.condition} is {self.status} ({self.reason})"
        # Ready sums up: while it is not, its message repeats another condition's, which is told by itself.
        told = self.condition == "Ready" and self.status != "True"
        return text if told or not self.message else f"{text}: {self.message}"


def title(obj: Mapping[str, Any]) -> str:
    return f"{obj['kind'].lower()} {obj['metadata']['name']}"


def states(obj: Mapping[str, Any]) -> dict[tuple[str, str], State]:
    """The conditions of a resource."""
    found = {}
    for one in obj.get("status", {}).get("conditions", []):
        state = State(title(obj), one["type"], one["status"], one.get("reason", ""), one.get("message", ""))
        found[(state.resource, state.condition)] = state
    return found


def is_ready(obj: Mapping[str, Any]) -> bool:
    """Whether it says that it is Ready, and says so of its present generation."""
    generation = obj["metadata"].get("generation")
    for one in obj.get("status", {}).get("conditions", []):
        if one["type"] == "Ready":
            return bool(one["status"] == "True" and one.get("observedGeneration", generation) == generation)
    return False


def changes(before: Mapping[tuple[str, str], State], after: Mapping[tuple[str, str], State]) -> list[State]:
    """Conditions that are new or have another status or reason; a message alone may change every second."""
    return [state for key, state in after.items() if (old := before.get(key)) is None or old.kind != state.kind]


def observe(kubectl: Callable[..., str], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The wanted resources that exist, by title."""
    wanted = set(names)
    listed = json.loads(kubectl("get", RESOURCES, "-o", "json"))
    return {title(obj): obj for obj in listed["items"] if title(obj) in wanted}


class Watcher:
    """Follows the conditions of some resources."""

    def __init__(self, kubectl: Callable[..., str], names: Iterable[str]) -> None:
        self._kubectl = kubectl
        self._names = sorted(names)
        self._seen: dict[tuple[str, str], State] = {}

    def look(self) -> dict[str, dict[str, Any]]:
        """Read them once and say what changed."""
        found = observe(self._kubectl, self._names)
        now: dict[tuple[str, str], State] = {}
        for obj in found.values():
            now.update(states(obj))
        for state in changes(self._seen, now):
            say(f"    {state.line()}")
        self._seen = now
        return found

    def unready(self) -> list[str]:
        """Which of them are not Ready, after one look."""
        found = self.look()
        return [name for name in self._names if name not in found or not is_ready(found[name])]

    def wait(self, limit: float, interval: float = 1.0) -> float:
        """Wait until all are Ready; returns the seconds it took."""
        begun = spoken = time.monotonic()
        while missing := self.unready():
            now = time.monotonic()
            if now - begun > limit:
                raise LocalClusterError(
                    f"not Ready within {limit:.0f} s: {', '.join(missing)}; `kubectl describe` them, and see"
                    " `kubectl -n okitoki-system logs deploy/okitoki-operator`"
                )
            if now - spoken > HEARTBEAT_SECONDS:
                spoken = now
                for state in self._seen.values():
                    if state.resource in missing and state.condition == "Ready":
                        say(f"    {state.resource} is not Ready yet: {state.message}")
            time.sleep(interval)
        return time.monotonic() - begun
