"""The order in which the edge gets a new template."""

import itertools
from dataclasses import replace

import pytest
from unit.operator_voiceregion.support import pair, pod

from okitoki.voiceregion.facts import ADDRESSES, EdgePod
from okitoki.voiceregion.rollout import next_action


def old(*pods: EdgePod) -> tuple[EdgePod, ...]:
    return tuple(replace(item, revision="old") for item in pods)


def test_nothing_to_do() -> None:
    assert next_action(pair(), "new").step == "done"


def test_first_the_pod_that_holds_fewer_addresses() -> None:
    decision = next_action(old(*pair()), "new")
    assert (decision.step, decision.pod and decision.pod.name) == ("restart", "edge-1")


def test_among_equals_the_higher_ordinal() -> None:
    pods = old(pod(0, holds=("sip", "media-1")), pod(1, holds=("https", "media-2")))
    decision = next_action(pods, "new")
    assert decision.pod is not None
    assert decision.pod.name == "edge-1"


def test_then_the_other_although_it_holds_everything() -> None:
    first, second = pair()
    decision = next_action((replace(first, revision="old"), second), "new")
    assert (decision.step, decision.pod and decision.pod.name) == ("restart", "edge-0")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ready": False, "problem": "agent: CrashLoopBackOff"}, "edge-1 is not ready (agent: CrashLoopBackOff)"),
        ({"protected": False, "unprotected_because": ("the peer is not known",)}, "the peer is not known"),
        ({"protected": False}, "its agent has not said so"),
        ({"terminating": True}, "edge-1 is giving its addresses away"),
    ],
)
def test_one_that_carries_calls_waits_for_the_other(change: dict[str, object], said: str) -> None:
    first, second = pair(**change)
    decision = next_action((replace(first, revision="old"), second), "new")
    assert decision.step == "wait"
    assert said in decision.reason


def test_one_pod_alone_is_not_touched() -> None:
    assert next_action(old(pod(0, holds=ADDRESSES)), "new").step == "wait"


def test_a_broken_pod_that_holds_nothing_is_replaced_at_once() -> None:
    first, second = pair(ready=False, protected=False, revision="old")
    decision = next_action((replace(first, revision="old", protected=False), second), "new")
    assert (decision.step, decision.pod and decision.pod.name) == ("restart", "edge-1")


def test_a_broken_pod_of_the_newest_template_is_not_replaced_by_the_same() -> None:
    first, second = pair(ready=False)
    assert next_action((first, second), "new").step == "done"


def test_nothing_before_the_controller_has_seen_the_template() -> None:
    assert next_action(old(*pair()), "").step == "wait"


def test_no_restart_ever_leaves_an_address_without_a_pod_to_go_to() -> None:
    """All states of a pair: whoever is restarted holds nothing, or the other is ready and both are protected."""
    flags = (True, False)
    holdings = ((), ("sip",), ADDRESSES)
    states = [
        (ready, protected, terminating, revision, holds)
        for ready, protected, terminating in itertools.product(flags, repeat=3)
        for revision in ("old", "new")
        for holds in holdings
    ]
    restarts = 0
    for one, two in itertools.product(states, repeat=2):
        pods = tuple(
            pod(number, ready=s[0], protected=s[1], terminating=s[2], revision=s[3], holds=s[4])
            for number, s in enumerate((one, two))
        )
        decision = next_action(pods, "new")
        if decision.step != "restart":
            continue
        restarts += 1
        assert decision.pod is not None
        other = next(item for item in pods if item.name != decision.pod.name)
        assert decision.pod.revision == "old"
        assert not any(item.terminating for item in pods)
        if decision.pod.holds:
            assert other.ready
            assert other.protected
            assert decision.pod.protected
        else:
            assert not decision.pod.ready or (other.ready and other.protected and decision.pod.protected)
    assert restarts > 0
