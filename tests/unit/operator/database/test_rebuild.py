"""When a member's data are given up, and above all when not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from unit.operator.factory import a_database, a_tenant, member, what_is_observed

from okitoki.database.losses import lost_member, observe_losses, spare_nodes
from okitoki.database.patroni_api import PatroniApi, PatroniError
from okitoki.database.rebuild import Losses, LostMember, decide_rebuild
from okitoki.database.state import DatabaseState
from okitoki.kube.client import Client
from okitoki.reconcile.kind import Outcome
from okitoki.tenant import decide
from okitoki.tenant.conditions import database_ready

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LOST = LostMember("postgres-2", "node-c", NOW - timedelta(seconds=700), "claim-uid", "pod-uid")
LOSSES = Losses((LOST,), frozenset({"postgres-1"}), ("node-d",))
STATE = a_database(
    members=(member("postgres-0", "primary"), member("postgres-1"), member("postgres-2", ready=False, state=""))
)


def test_a_member_whose_node_does_not_come_back_is_made_anew_elsewhere() -> None:
    found = decide_rebuild(STATE, LOSSES, 3, 600, NOW)
    assert found.member == LOST
    assert found.reason == "postgres-2 is on node node-c, which has been lost for 11 min: it is made anew elsewhere"


@pytest.mark.parametrize(
    ("state", "losses", "after", "words"),
    [
        (STATE, LOSSES, 900, "has 3 min more to come back"),
        (STATE, replace(LOSSES, streaming=None), 600, "does not tell who is connected"),
        (STATE, replace(LOSSES, streaming=frozenset({"postgres-1", "postgres-2"})), 600, "so it lives"),
        (STATE, replace(LOSSES, spare_nodes=()), 600, "add one"),
        (a_database(members=(member("postgres-0", "primary"),)), LOSSES, 600, "only 1 other members"),
        (DatabaseState((member("postgres-0"), member("postgres-1")), ()), LOSSES, 600, "takes writes"),
    ],
)
def test_its_data_are_kept(state: DatabaseState, losses: Losses, after: int, words: str) -> None:
    found = decide_rebuild(state, losses, 3, after, NOW)
    assert found.member is None
    assert words in found.reason


def test_a_lost_primary_is_never_made_anew() -> None:
    gone = replace(LOST, name="postgres-0")
    assert decide_rebuild(STATE, replace(LOSSES, members=(gone,)), 3, 600, NOW).member is None


def test_of_several_the_one_lost_for_longest_comes_first() -> None:
    other = replace(LOST, name="postgres-3", since=LOST.since - timedelta(seconds=1))
    five = a_database(members=tuple(member(f"postgres-{i}", "primary" if i == 0 else "replica") for i in (0, 1, 4)))
    losses = replace(LOSSES, members=(LOST, other), streaming=frozenset({"postgres-1", "postgres-4"}))
    found = decide_rebuild(five, losses, 5, 600, NOW)
    assert found.member == other


def test_the_condition_says_what_is_awaited() -> None:
    tenant = a_tenant()
    observed = what_is_observed(
        tenant, database=STATE, losses=replace(LOSSES, spare_nodes=()), now=NOW, dynamic_configuration={"ttl": 20}
    )
    condition = database_ready(tenant, observed, Outcome())
    assert condition.status == "False"
    assert "node-c, which has been lost for 11 min" in condition.message
    assert "add one" in condition.message
    assert decide.rebuild_member(tenant, observed) is None


def test_the_action_names_exactly_what_is_deleted() -> None:
    observed = what_is_observed(database=STATE, losses=LOSSES, now=NOW)
    action = decide.rebuild_member(a_tenant(), observed)
    assert action is not None
    assert action.data == {"member": "postgres-2", "claim_uid": "claim-uid", "pod_uid": "pod-uid"}


def claim(name: str, node: str, **metadata: Any) -> dict[str, Any]:
    annotations = {"volume.kubernetes.io/selected-node": node}
    created = "2026-11-25T11:00:00Z"
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "annotations": annotations,
            "creationTimestamp": created,
            **metadata,
        }
    }


def node(name: str, ready: str = "True", **spec: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-25T11:50:00Z"}
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": [condition]}}


CLAIMS = [claim(f"data-postgres-{i}", f"node-{c}") for i, c in enumerate("abc")]


@pytest.mark.parametrize("ready", ["False", "Unknown"])
def test_a_member_is_lost_with_its_volumes_node(ready: str) -> None:
    found = lost_member(CLAIMS[2], {}, {"node-c": node("node-c", ready)})
    assert found == LostMember(
        "postgres-2", "node-c", datetime(2026, 11, 25, 11, 50, tzinfo=UTC), "uid-data-postgres-2", None
    )


def test_of_a_node_that_is_deleted_the_waiting_counts() -> None:
    pod = {"metadata": {"uid": "pod", "creationTimestamp": "2026-11-25T11:55:00Z"}}
    found = lost_member(CLAIMS[2], {"postgres-2": pod}, {})
    assert found is not None
    assert found.since == datetime(2026, 11, 25, 11, 55, tzinfo=UTC)


def test_what_is_not_a_loss() -> None:
    assert lost_member(CLAIMS[2], {}, {"node-c": node("node-c")}) is None, "the node is ready"
    assert lost_member(claim("data-other-1", "node-c"), {}, {}) is None, "not a member's"
    going = claim("data-postgres-2", "node-c", deletionTimestamp="2026-11-25T11:59:00Z")
    assert lost_member(going, {}, {}) is None, "it is being made anew"
    network = claim("data-postgres-2", "")
    assert lost_member(network, {}, {}) is None, "its volume is on no node"


def test_a_spare_node_is_ready_takes_pods_and_has_no_member() -> None:
    nodes = {
        "node-a": node("node-a"),
        "node-d": node("node-d"),
        "node-e": node("node-e", "False"),
        "node-f": node("node-f", unschedulable=True),
        "node-g": node("node-g", taints=[{"key": "control-plane", "effect": "NoSchedule"}]),
    }
    assert spare_nodes(nodes, CLAIMS) == ("node-d",)


class FakeClient:
    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.nodes, self.lists = list(nodes), 0

    async def list(self, *_: object) -> list[dict[str, Any]]:
        self.lists += 1
        return self.nodes


class FakePatroni:
    def __init__(self, error: bool = False) -> None:
        self.error = error

    async def streaming(self, address: str) -> frozenset[str]:
        if self.error:
            raise PatroniError("no answer")
        return frozenset({"postgres-1"})


async def observed(client: FakeClient, state: DatabaseState, error: bool = False) -> Losses:
    patroni = cast(PatroniApi, FakePatroni(error))
    return await observe_losses(cast(Client, client), patroni, state, [], CLAIMS)


async def test_nodes_are_read_only_when_a_member_is_not_in_order() -> None:
    client = FakeClient(node("node-a"), node("node-b"), node("node-c", "Unknown"), node("node-d"))
    assert await observed(client, a_database()) == Losses()
    assert client.lists == 0
    found = await observed(client, STATE)
    assert [one.name for one in found.members] == ["postgres-2"]
    assert (found.streaming, found.spare_nodes) == (frozenset({"postgres-1"}), ("node-d",))
    assert (await observed(client, STATE, error=True)).streaming is None
