"""Pure parts of observing."""

from __future__ import annotations

from typing import Any

import pytest

from okitoki.kube import labels
from okitoki.tenant.observe import namespace_state, node_blocks


@pytest.mark.parametrize(
    ("metadata", "state"),
    [
        ({"labels": {labels.OWNER_UID: "me"}}, "ours"),
        ({"labels": {labels.OWNER_UID: "other"}}, "foreign"),
        ({}, "foreign"),
        ({"labels": {labels.OWNER_UID: "me"}, "deletionTimestamp": "now"}, "terminating"),
    ],
)
def test_only_our_own_uid_makes_a_namespace_ours(metadata: dict[str, Any], state: str) -> None:
    assert namespace_state({"metadata": metadata}, "me") == state


def test_no_namespace_is_absent() -> None:
    assert namespace_state(None, "me") == "absent"


def test_a_nodes_blocks_are_its_addresses_and_never_a_pods() -> None:
    node = {
        "spec": {"podCIDRs": ["198.19.3.0/24", "fd00::/64"]},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "a"},
                {"type": "InternalIP", "address": "198.18.1.2"},
                {"type": "InternalIP", "address": "fd00::1"},
            ]
        },
    }
    assert node_blocks(node) == ["198.18.1.2/32", "198.19.3.0/31"]
