"""`kubectl okitoki` on the cluster: what a person asks for is what the servers do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cluster.conftest import Installed, conditions
from cluster.test_retention import sql
from okitoki_chaos.cluster import pods
from okitoki_chaos.whole import EDGE, holder_of_sip, holders, leader_name
from okitoki_local.demo import platform
from okitoki_local.environment import Environment
from okitoki_local.system import wait_until

PLUGIN = Path(__file__).parents[2] / "plugin" / "kubectl-okitoki"
TENANT = "initech"
NAMESPACE = f"tenant-{TENANT}"
SECONDS = 700.0


def okitoki(env: Environment, command: str, *arguments: str, code: int = 0) -> str:
    """What the plugin prints: its output when all is well, its error when not."""
    done = env.run([PLUGIN, "--context", env.context, command, *arguments], check=False, timeout=SECONDS)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


def rows(env: Environment, command: str, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(okitoki(env, command, *arguments, "-o", "json"))
    return found


def test_status_has_every_resource_on_a_line(env: Environment, installed: Installed) -> None:
    shown = okitoki(env, "status").splitlines()
    for name in (installed.region, *(tenant.name for tenant in installed.tenants)):
        (line,) = [line for line in shown if line.startswith(f"{name} ")]
        assert "True" in line


def test_promote_makes_the_named_member_primary_with_all_that_was_acknowledged(
    env: Environment, installed: Installed, cluster: platform.KindCluster
) -> None:
    sql(env, "CREATE TABLE promoted (word text)", NAMESPACE)
    sql(env, "INSERT INTO promoted VALUES ('acknowledged')", NAMESPACE)
    before = leader_name(cluster, NAMESPACE)
    named = next(name for name in ("postgres-0", "postgres-1", "postgres-2") if name != before)
    (row,) = rows(env, "promote", TENANT, named)
    assert (row["from"], row["to"]) == (before, named)
    assert leader_name(cluster, NAMESPACE) == named
    assert sql(env, "SELECT word FROM promoted", NAMESPACE) == "acknowledged"
    sql(env, "DROP TABLE promoted", NAMESPACE)


def test_promote_of_nobody_is_refused_in_words_and_changes_nothing(
    env: Environment, installed: Installed, cluster: platform.KindCluster
) -> None:
    installed.watcher.wait(300)
    before = leader_name(cluster, NAMESPACE)
    assert "postgres-7" in okitoki(env, "promote", TENANT, "postgres-7", code=1)
    assert leader_name(cluster, NAMESPACE) == before


def test_a_drained_edge_node_holds_no_address_and_may_again_when_it_is_undone(
    env: Environment, installed: Installed, cluster: platform.KindCluster
) -> None:
    region, namespace = installed.region, installed.region_namespace
    node = holder_of_sip(cluster, namespace).node

    def free(node: str) -> bool:
        """Every address is held by one pod, and none on this node."""
        found = pods(cluster, namespace, EDGE)
        there = {pod.name for pod in found if pod.node == node}
        return all(len(names) == 1 and not there & set(names) for names in holders(found).values())

    def redundant() -> str:
        """As the region's condition says."""
        return str(conditions(env, "voiceregion", region)["EdgeRedundant"]["reason"])

    try:
        moved = rows(env, "drain-edge", region, "--node", node)
        assert {row["address"] for row in moved} == {"sip", "https", "media-1", "media-2"}
        wait_until("the node to be known as drained", lambda: free(node) and redundant() == "Drained", 60)
    finally:
        okitoki(env, "drain-edge", region, "--undo")
    wait_until("the node to protect again", lambda: redundant() == "Protected", 120)
    installed.watcher.wait(300)


def test_a_tenant_sleeps_and_wakes_by_two_commands(env: Environment, installed: Installed) -> None:
    okitoki(env, "hibernate", TENANT, "--wait")
    assert env.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name") == ""
    okitoki(env, "wake", TENANT, "--wait")
    assert conditions(env, "tenant", TENANT)["Ready"]["reason"] == "Ready"
