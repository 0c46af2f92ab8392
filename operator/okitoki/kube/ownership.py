"""Whose a namespace is. Pure."""

from __future__ import annotations

from typing import Literal

from okitoki.kube import labels
from okitoki.kube.resources import Manifest

NamespaceState = Literal["absent", "ours", "foreign", "terminating"]


def namespace_state(namespace: Manifest | None, uid: str) -> NamespaceState:
    """The state of a namespace for the owner with `uid`; only one that carries it is the owner's."""
    if namespace is None:
        return "absent"
    metadata = namespace["metadata"]
    if metadata.get("deletionTimestamp"):
        return "terminating"
    return "ours" if (metadata.get("labels") or {}).get(labels.OWNER_UID) == uid else "foreign"
