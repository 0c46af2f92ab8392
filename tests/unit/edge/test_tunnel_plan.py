"""What the tunnel must be, and the next step towards it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from unit.edge.support import facts

from okitoki_agents.edge.tunnel import plan
from okitoki_agents.edge.tunnel.plan import Keys, Seen, decide

NODE, PEER = "198.18.16.11", "198.18.16.12"
KEYS = Keys("cHJpdmF0ZQ==", "cHVibGlj")
GOOD = Seen(
    exists=True, runs=True, stopped=False, silent=0, configured=True, routed=True, handshake=20.0, greeted=100.0
)


def test_the_peer_may_be_spoken_to_as_its_node_and_as_either_relay(tmp_path: Path) -> None:
    lines = plan.configuration(facts(tmp_path), KEYS, PEER).splitlines()
    assert f"AllowedIPs = {PEER}/32, 198.18.16.201/32, 198.18.16.202/32" in lines
    assert f"Endpoint = {PEER}:51840" in lines
    assert "ListenPort = 51840" in lines
    assert "[Peer]" not in plan.configuration(facts(tmp_path), KEYS, None)


def test_what_carries_keys_goes_through_the_tunnel_both_ways_and_nothing_else(tmp_path: Path) -> None:
    found = plan.rules(facts(tmp_path), PEER)
    assert len(found) == 6
    assert (("to", PEER), ("ipproto", "tcp"), ("dport", "16379")) in found
    assert (("from", "198.18.16.202"), ("to", PEER), ("ipproto", "udp"), ("sport", "2224")) in found
    assert all(any(name in ("sport", "dport") for name, _ in rule) for rule in found)
    assert plan.rules(facts(tmp_path), None) == frozenset()


def test_keys_are_written_as_they_are_read_and_never_shown() -> None:
    assert plan.parse_keys(plan.key_document(KEYS)) == KEYS
    assert KEYS.private not in repr(KEYS)
    assert plan.parse_keys("[]") is plan.parse_keys("{}") is plan.parse_keys("x") is None


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        (GOOD, "none"),
        (replace(GOOD, exists=False), "kill"),
        (replace(GOOD, exists=False, runs=False), "make"),
        (replace(GOOD, runs=False), "make"),
        (replace(GOOD, stopped=True), "kill"),
        (replace(GOOD, silent=plan.SILENT_LOOKS - 1), "none"),
        (replace(GOOD, silent=plan.SILENT_LOOKS), "kill"),
        (replace(GOOD, configured=False, routed=False), "configure"),
        (replace(GOOD, routed=False), "route"),
        (replace(GOOD, handshake=plan.STALE_SECONDS + 1.0), "greet"),
        (replace(GOOD, handshake=None), "greet"),
        (replace(GOOD, handshake=None, greeted=0.5), "none"),
    ],
)
def test_the_next_step_mends_what_is_most_broken(seen: Seen, action: str) -> None:
    assert decide(seen, has_peer=True).action == action


def test_nobody_is_greeted_without_a_peer() -> None:
    assert decide(replace(GOOD, handshake=None), has_peer=False).action == "none"
