"""`drain-edge`: which node, what is refused, and that nothing is left behind of what did not come to pass."""

from __future__ import annotations

import pytest
from unit.plugin.support import Clock, Fake

from okitoki_kubectl.commands.drain import DRAINED_NODE, drain_edge, undo
from okitoki_kubectl.waiting import Failed


def moving(state: str = "Drained", looks: int = 3) -> Fake:
    """An operator that needs some looks to move all to the other node, or says why it waits."""
    left = [looks]

    def operator(fake: Fake) -> None:
        node, status = fake.region["metadata"]["annotations"].get(DRAINED_NODE), fake.region["status"]
        if node is None:
            status.pop("drain", None)
            return
        left[0] -= 1
        done = left[0] <= 0 and state == "Drained"
        status["drain"] = {
            "node": node,
            "state": state if done or state == "Waiting" else "Moving",
            "message": "edge-0",
        }
        if done:
            other = next(pod for pod, at in status["nodes"].items() if at != node)
            status["holders"] = dict.fromkeys(("sip", "https", "media-1", "media-2"), other)

    made = Fake(operator)
    made.region["status"]["holders"] = {
        "sip": "edge-0", "media-1": "edge-0", "media-2": "edge-0", "https": "edge-1",
    }  # fmt: skip
    return made


def test_every_address_moves_off_the_node_that_is_named() -> None:
    fake, clock = moving(), Clock()
    rows = drain_edge(fake, "kyiv", "node-a", clock.waiter())
    assert fake.changes == [("kyiv", DRAINED_NODE, "node-a")]
    assert {row["to"] for row in rows} == {"edge-1"}
    assert rows[0] == {"address": "sip", "from": "edge-0", "to": "edge-1", "node": "node-b"}
    assert any("Moving" in line for line in clock.told)


def test_without_a_name_the_node_that_holds_fewest_is_taken() -> None:
    fake = moving()
    drain_edge(fake, "kyiv", None, Clock().waiter())
    assert fake.changes == [("kyiv", DRAINED_NODE, "node-b")]


@pytest.mark.parametrize("node", ["node-c", ""])
def test_a_node_without_an_edge_pod_is_refused_and_nothing_asked(node: str) -> None:
    fake = moving()
    if not node:
        fake.region["status"]["nodes"] = {}
    with pytest.raises(Failed, match="node-a, node-b" if node else "no edge pod of kyiv runs"):
        drain_edge(fake, "kyiv", node or None, Clock().waiter())
    assert fake.changes == []


def test_what_does_not_come_to_pass_is_taken_back_with_the_reason() -> None:
    fake = moving("Waiting")
    with pytest.raises(Failed, match=r"node-a is not free after 60 s \(kyiv: Waiting: edge-0\); the request was taken"):
        drain_edge(fake, "kyiv", "node-a", Clock().waiter())
    assert fake.region["metadata"]["annotations"] == {}


def test_it_can_be_asked_for_again_and_a_second_node_cannot() -> None:
    fake = moving()
    drain_edge(fake, "kyiv", "node-a", Clock().waiter())
    drain_edge(fake, "kyiv", None, Clock().waiter())
    with pytest.raises(Failed, match=r"node-a of kyiv is drained, and one node must serve: .*--undo"):
        drain_edge(fake, "kyiv", "node-b", Clock().waiter())
    assert len(fake.changes) == 1


def test_undo_lets_the_node_hold_addresses_again() -> None:
    fake = moving()
    drain_edge(fake, "kyiv", "node-a", Clock().waiter())
    rows = undo(fake, "kyiv", Clock().waiter())
    assert fake.region["metadata"]["annotations"] == {}
    assert {(row["from"], row["to"]) for row in rows} == {("edge-1", "edge-1")}
    with pytest.raises(Failed, match="no node of kyiv is drained"):
        undo(fake, "kyiv", Clock().waiter())


def test_an_operator_that_does_not_answer_is_told() -> None:
    fake = Fake()
    with pytest.raises(Failed, match="the operator has not seen it yet: does it run"):
        drain_edge(fake, "kyiv", "node-a", Clock().waiter())
    fake.region["metadata"]["annotations"][DRAINED_NODE] = "node-a"
    fake.region["status"]["drain"] = {"node": "node-a", "state": "Drained", "message": ""}
    with pytest.raises(Failed, match="no answer in 60 s: does the operator run"):
        undo(fake, "kyiv", Clock().waiter())
