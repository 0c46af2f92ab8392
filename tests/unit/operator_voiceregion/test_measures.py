"""What is measured of a region, and which moves are told."""

from __future__ import annotations

from unit.operator_voiceregion.support import NOW, observed, pair, pod, region

from okitoki.metrics.domain import Series
from okitoki.reconcile.kind import Outcome
from okitoki.voiceregion.facts import ADDRESSES
from okitoki.voiceregion.kind import VoiceRegionKind
from okitoki.voiceregion.measures import MOVES, measures


def test_a_region_that_is_well() -> None:
    found = measures(observed(pods=pair(dead_letters=2)))
    assert found == {
        "okitoki_region_edge_protected": 1,
        "okitoki_region_edge_pods": 2,
        "okitoki_region_address_holders": dict.fromkeys(ADDRESSES, 1),
        "okitoki_region_trunk_answers": {},
        "okitoki_region_dead_letters": 2,
        "okitoki_certificate_expiry_seconds": NOW + 365 * 86400,
    }
    Series().put(("VoiceRegion", "kyiv"), found)


def test_a_region_without_one_of_its_pods_is_not_protected_whatever_the_other_says() -> None:
    assert measures(observed(pods=(pod(0, holds=ADDRESSES),)))["okitoki_region_edge_protected"] == 0
    assert measures(observed(pods=pair(ready=False)))["okitoki_region_edge_protected"] == 0
    assert measures(observed(pods=pair(protected=False)))["okitoki_region_edge_protected"] == 0


def test_an_address_that_nobody_holds_and_one_that_two_hold_are_seen() -> None:
    split = (pod(0, holds=("sip", "https"), peer_answers=False), pod(1, holds=("sip", "media-1"), peer_answers=False))
    found = measures(observed(pods=split))["okitoki_region_address_holders"]
    assert found == {"sip": 2, "https": 1, "media-1": 1, "media-2": 0}


def test_nothing_is_said_of_a_strangers_namespace() -> None:
    assert measures(observed(namespace="foreign")) == {}


def test_a_move_is_told_once_although_nobody_or_both_had_the_address_in_between() -> None:
    kind = VoiceRegionKind()
    both = (pod(0, holds=ADDRESSES, peer_answers=False), pod(1, holds=("sip",), peer_answers=False))
    moved = (pod(0, holds=ADDRESSES[1:]), pod(1, holds=("sip",)))
    status: dict[str, object] = {}
    told = []
    for pods in (pair(), (pod(0, holds=ADDRESSES[1:]), pod(1)), both, moved, moved):
        after = dict(kind.status(region(), observed(pods=pods), Outcome(before=status)))
        told += [(item.reason, item.message, item.counter) for item in kind.news(status, after)]
        status = after
    assert told == [("AddressMoved", "the sip address was on edge-0 and is on edge-1 now", MOVES)]
