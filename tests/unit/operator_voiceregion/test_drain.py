"""A node of the edge that is to be serviced: which pod is marked, when not, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from unit.operator_voiceregion.support import observed, pair, pod, region
from unit.operator_voiceregion.test_kind import cluster, context

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube import labels
from okitoki.kube.resources import ObjectKey
from okitoki.reconcile.conditions import summary
from okitoki.reconcile.kind import Outcome
from okitoki.voiceregion.conditions import conditions, edge_redundant, status
from okitoki.voiceregion.drain import decide_drain
from okitoki.voiceregion.facts import ADDRESSES, EdgePod
from okitoki.voiceregion.kind import DRAIN, RESTART, VoiceRegionKind
from okitoki.voiceregion.measures import news

DRAINED = pod(1, drain=True, drained=True, protected=False, unprotected_because=("this node is drained",))


def asked(node: str) -> VoiceRegion:
    made = region()
    metadata = made.metadata.model_copy(update={"annotations": {labels.DRAINED_NODE: node}})
    return made.model_copy(update={"metadata": metadata})


@pytest.mark.parametrize("node", ["worker0", "worker1"])
def test_the_pod_of_the_node_is_marked_when_the_other_could_take_everything(node: str) -> None:
    found = decide_drain(node, pair())
    assert found.mark is not None
    assert (found.mark.node, found.state, found.unmark) == (node, "Moving", ())


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ((pod(0, holds=ADDRESSES),), "the region has no other edge pod"),
        (pair(terminating=True), "the region has no other edge pod"),
        (pair(ready=False, problem="guard: CrashLoopBackOff"), "edge-1 is not ready (guard: CrashLoopBackOff)"),
        (pair(protected=False, unprotected_because=("Redis of the peer does not answer",)), "edge-1 is not protected"),
        ((pod(0, holds=("sip",), protected=False), pod(1, holds=("https",))), "edge-0 is not protected"),
    ],
)
def test_nothing_moves_while_that_would_cost_calls(pods: tuple[EdgePod, ...], words: str) -> None:
    found = decide_drain("worker0", pods)
    assert (found.mark, found.state) == (None, "Waiting")
    assert words in found.message
    assert "mend that first" in found.message


def test_a_node_that_is_broken_and_holds_nothing_can_be_taken_out_of_the_pair() -> None:
    broken = pod(1, ready=False, protected=False)
    found = decide_drain("worker1", (pod(0, holds=ADDRESSES, protected=False), broken))
    assert found.mark == broken


def test_a_node_without_an_edge_pod_is_waited_for() -> None:
    """It reboots, or the name is wrong: the nodes that there are, are named."""
    found = decide_drain("worker7", pair())
    assert (found.mark, found.state) == (None, "Waiting")
    assert "no edge pod of the region runs on worker7 now, they run on worker0, worker1" in found.message


def test_it_is_done_when_the_agent_says_so_and_the_other_holds_everything() -> None:
    assert decide_drain("worker1", (pod(0, holds=ADDRESSES), DRAINED)).state == "Drained"
    marked = pod(1, drain=True)
    assert decide_drain("worker1", (pod(0, holds=ADDRESSES), marked)).state == "Moving", "its agent does not know yet"
    some = decide_drain("worker1", (pod(0, holds=ADDRESSES[:2]), pod(1, drain=True, drained=True)))
    assert (some.state, some.message) == ("Moving", "the addresses are on their way")


def test_a_drained_node_that_serves_all_the_same_says_why() -> None:
    reason = "this node is drained, and serves on while the peer could not take everything"
    serving = pod(1, holds=("sip",), drain=True, drained=True, protected=False, unprotected_because=(reason,))
    found = decide_drain("worker1", (pod(0, ready=False), serving))
    assert found.state == "Moving"
    assert found.message == f"edge-1 still holds sip: {reason}"


@pytest.mark.parametrize("node", [None, ""])
def test_the_mark_goes_with_the_request(node: str | None) -> None:
    found = decide_drain(node, (pod(0, holds=ADDRESSES), DRAINED))
    assert (found.unmark, found.state, found.mark) == ((DRAINED,), None, None)


def test_never_two_at_once() -> None:
    found = decide_drain("worker0", (pod(0, holds=ADDRESSES), DRAINED))
    assert (found.unmark, found.mark, found.state) == ((DRAINED,), None, "Waiting")


def test_a_pod_that_comes_back_on_the_node_is_marked_again() -> None:
    """A mark ends with its pod; what is asked for does not."""
    anew = pod(1, uid="another")
    assert decide_drain("worker1", (pod(0, holds=ADDRESSES), anew)).mark == anew
    moved = pod(1, node="worker2", drain=True)
    assert decide_drain("worker1", (pod(0, holds=ADDRESSES), moved)).unmark == (moved,)


def test_a_drained_region_is_not_redundant_and_says_how_that_ends() -> None:
    found = observed(pods=(pod(0, holds=ADDRESSES), DRAINED))
    told = edge_redundant(asked("worker1"), found)
    assert (told.status, told.reason) == ("False", "Drained")
    assert "kubectl okitoki drain-edge kyiv --undo" in told.message
    assert summary(conditions(asked("worker1"), found, Outcome())).reason == "Drained"
    worse = observed(pods=(pod(0, holds=ADDRESSES, protected=False, unprotected_because=("haproxy is down",)), DRAINED))
    assert edge_redundant(asked("worker1"), worse).reason == "NotProtected"


def test_no_pod_is_restarted_while_the_other_is_drained() -> None:
    stale = tuple(pod(0, holds=ADDRESSES, revision="old") if n == 0 else DRAINED for n in (0, 1))
    actions = VoiceRegionKind().decide(asked("worker1"), observed(pods=stale))
    assert RESTART not in {action.name for action in actions}


def test_the_status_and_the_events_tell_it_once() -> None:
    found = observed(pods=(pod(0, holds=ADDRESSES), DRAINED))
    told: dict[str, Any] = dict(status(asked("worker1"), found))
    assert (told["drain"]["node"], told["drain"]["state"]) == ("worker1", "Drained")
    assert status(region(), observed())["drain"] is None
    assert [item.reason for item in news({}, told)] == ["EdgeDrained"]
    assert news(told, told) == []
    assert [item.reason for item in news(told, {})] == ["EdgeDrainEnded"]
    waiting = {"drain": {"node": "worker1", "state": "Waiting", "message": ""}}
    assert news({}, waiting) == []
    assert [item.reason for item in news(waiting, told)] == ["EdgeDrained"]


async def test_the_very_pod_is_marked_and_unmarked() -> None:
    kind, client = VoiceRegionKind(), cluster()
    (action,) = kind.decide(asked("worker0"), observed())
    assert (action.name, action.data) == (DRAIN, {"marks": [("edge-0", "uid-0", "true")]})
    assert await kind.act(context(client), asked("worker0"), observed(), action) is None
    metadata = client.objects[ObjectKey("Pod", "okitoki-region-kyiv", "edge-0")]["metadata"]
    assert metadata["annotations"] == {labels.DRAIN: "true"}
    assert metadata["uid"] == "uid-0"
    (action,) = kind.decide(region(), observed(pods=(pod(0, holds=ADDRESSES), DRAINED)))
    assert action.data == {"marks": [("edge-1", "uid-1", None)]}
