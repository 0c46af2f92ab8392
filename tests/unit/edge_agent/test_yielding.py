"""Two nodes that hold the same address although they see each other."""

from __future__ import annotations

import pytest

from okitoki_agents.edge.agent.yielding import AGAIN_AFTER, LOOKS, Yielding

NOTHING: frozenset[str] = frozenset()


@pytest.fixture
def yielding() -> Yielding:
    return Yielding(("sip", "https"), lambda name: name == "https")


def both(yielding: Yielding, since: float, looks: int = LOOKS) -> frozenset[str]:
    found = NOTHING
    for n in range(looks):
        found = yielding.look(("sip", "https"), ("sip", "https"), since + n)
    return found


def test_an_address_that_stays_on_both_nodes_is_left_to_its_home(yielding: Yielding) -> None:
    assert both(yielding, 0.0, LOOKS - 1) == NOTHING
    assert both(yielding, 5.0, 1) == {"sip"}
    assert yielding.look(("https",), ("sip",), 6.0) == {"sip"}


def test_a_flap_is_left_to_vrrp(yielding: Yielding) -> None:
    for n in range(20):
        assert both(yielding, 10.0 * n, LOOKS - 1) == NOTHING
        assert yielding.look((), ("sip",), 10.0 * n + 5) == NOTHING


@pytest.mark.parametrize("peer", [None, (), ("https",)])
def test_a_peer_that_has_it_no_more_is_replaced_at_once(yielding: Yielding, peer: tuple[str, ...] | None) -> None:
    assert both(yielding, 0.0) == {"sip"}
    assert yielding.look((), peer, 3.0) == NOTHING


def test_it_comes_again_after_a_while_and_ever_more_rarely_if_that_does_not_help(yielding: Yielding) -> None:
    assert both(yielding, 0.0) == {"sip"}
    left = LOOKS - 1.0
    assert yielding.look((), ("sip",), left + AGAIN_AFTER - 1) == {"sip"}
    assert yielding.look((), ("sip",), left + AGAIN_AFTER) == NOTHING
    assert both(yielding, left + AGAIN_AFTER + 1) == {"sip"}
    left += AGAIN_AFTER + LOOKS
    assert yielding.look((), ("sip",), left + AGAIN_AFTER) == {"sip"}
    assert yielding.look((), ("sip",), left + 2 * AGAIN_AFTER) == NOTHING


def test_once_adverts_arrive_the_first_wait_counts_again(yielding: Yielding) -> None:
    both(yielding, 0.0)
    assert yielding.look((), ("sip",), 100.0) == NOTHING
    assert yielding.look((), ("sip",), 200.0) == NOTHING
    assert both(yielding, 300.0) == {"sip"}
    assert yielding.look((), ("sip",), 303.0 + AGAIN_AFTER) == NOTHING
