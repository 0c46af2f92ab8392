"""The condition that every kind with a namespace of its own has: that the namespace is its own. Pure."""

from __future__ import annotations

from okitoki.kube.ownership import NamespaceState
from okitoki.reconcile.conditions import Condition, failing, good, progressing


def namespace_owned(state: NamespaceState, namespace: str, owner: str) -> Condition:
    """Whether the namespace is the resource's; `owner` is what people call it (`tenant`, `region`)."""
    kind = "NamespaceOwned"
    match state:
        case "foreign":
            return failing(
                kind,
                "NamespaceNotOwned",
                f"namespace {namespace} exists and is not this {owner}'s; it is never adopted: delete it, or create "
                f"the {owner} under another name",
            )
        case "terminating":
            return progressing(
                kind,
                "NamespaceTerminating",
                f"waiting for the old namespace {namespace} to be gone before making it anew",
            )
        case "absent":
            return progressing(kind, "NamespaceMissing", f"namespace {namespace} is being made")
    return good(kind, "Owned", f"namespace {namespace} is this {owner}'s")
