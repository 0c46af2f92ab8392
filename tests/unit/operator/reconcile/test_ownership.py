"""The condition that a namespace is the resource's own."""

from __future__ import annotations

import pytest

from okitoki.kube.ownership import NamespaceState
from okitoki.reconcile.ownership import namespace_owned


@pytest.mark.parametrize(
    ("state", "status", "reason", "warning"),
    [
        ("ours", "True", "Owned", False),
        ("absent", "False", "NamespaceMissing", False),
        ("terminating", "False", "NamespaceTerminating", False),
        ("foreign", "False", "NamespaceNotOwned", True),
    ],
)
def test_only_a_strangers_namespace_needs_somebody(
    state: NamespaceState, status: str, reason: str, warning: bool
) -> None:
    found = namespace_owned(state, "okitoki-region-kyiv", "region")
    assert (found.type, found.status, found.reason, found.warning) == ("NamespaceOwned", status, reason, warning)
    assert "okitoki-region-kyiv" in found.message


def test_a_refusal_says_the_mend_in_the_resources_own_word() -> None:
    assert "create the tenant under another name" in namespace_owned("foreign", "tenant-acme", "tenant").message
