"""What `up` does about each state that a cluster can be found in."""

import dataclasses

import pytest

from okitoki_local.health import NODE_COUNT, Action, Facts, decide

HEALTHY = Facts(
    state_exists=True,
    daemon_runs=True,
    daemon_answers=True,
    node_states=("running",) * NODE_COUNT,
    built_as="key",
    wanted="key",
    nodes_ready=NODE_COUNT,
)


def changed(**facts: object) -> Facts:
    return dataclasses.replace(HEALTHY, **facts)  # type: ignore[arg-type]


def test_a_healthy_cluster_is_reused() -> None:
    assert decide(HEALTHY).action is Action.REUSE


def test_nothing_there_means_a_new_cluster() -> None:
    assert decide(Facts(state_exists=False, daemon_runs=False, daemon_answers=False)).action is Action.CREATE


@pytest.mark.parametrize(
    ("facts", "action", "reason"),
    [
        (changed(daemon_runs=False, daemon_answers=False), Action.REMAKE_DAEMON, "daemon is not running"),
        (changed(daemon_answers=False), Action.REMAKE_DAEMON, "does not answer"),
        (changed(node_states=()), Action.CREATE, "no nodes"),
        (changed(built_as=None), Action.REMAKE_CLUSTER, "did not finish"),
        (changed(built_as="other"), Action.REMAKE_CLUSTER, "changed"),
        (changed(node_states=("running",) * 3), Action.REMAKE_CLUSTER, f"3 of {NODE_COUNT}"),
        (changed(node_states=("running",) * (NODE_COUNT - 1) + ("exited",)), Action.REMAKE_CLUSTER, "exited"),
        (
            changed(node_states=("running",) * (NODE_COUNT - 1) + ("paused",)),
            Action.UNPAUSE,
            "1 of its nodes are paused",
        ),
        (changed(nodes_ready=2), Action.SETTLE, f"2 of {NODE_COUNT} nodes are Ready"),
    ],
)
def test_each_kind_of_damage_has_its_remedy_and_names_itself(facts: Facts, action: Action, reason: str) -> None:
    decision = decide(facts)
    assert decision.action is action
    assert reason in decision.reason
