"""Pure parts of observing."""

from __future__ import annotations

from okitoki.tenant.observe import node_blocks


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
