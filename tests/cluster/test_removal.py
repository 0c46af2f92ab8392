"""What is left when everything is deleted: nothing, on the nodes as well. Runs last: it removes the tests' region."""

from __future__ import annotations

import json

from cluster.conftest import Installed, remove
from okitoki_chaos.cluster import pods
from okitoki_chaos.whole import EDGE
from okitoki_local.demo import platform
from okitoki_local.environment import Environment

SYSCTLS = ("net.ipv4.ip_nonlocal_bind", "net.ipv4.conf.all.arp_ignore", "net.ipv4.conf.all.arp_announce")


def sysctls(env: Environment, node: str) -> str:
    return env.docker("exec", node, "sysctl", "-n", *SYSCTLS)


def untouched_node(env: Environment) -> str:
    """A node that never carried an edge: what sysctls are without one."""
    return next(node for node in env.nodes() if node.endswith("control-plane"))


def test_deletion_leaves_no_namespace_address_rule_or_sysctl(
    env: Environment, cluster: platform.KindCluster, installed: Installed
) -> None:
    nodes = sorted({pod.node for pod in pods(cluster, installed.region_namespace, EDGE)})
    assert len(nodes) == 2
    # One edge pod dies without a chance to clean up after itself.
    victim = pods(cluster, installed.region_namespace, EDGE)[0]
    cluster.kubectl("delete", "pod", "-n", victim.namespace, victim.name, "--force", "--grace-period=0")
    remove(env, installed.objects)

    for obj in installed.objects:
        prefix = "tenant-" if obj["kind"] == "Tenant" else "okitoki-region-"
        assert platform.existing(env, "namespace", prefix + obj["metadata"]["name"]) is None
    for node in nodes:
        held = json.loads(env.docker("exec", node, "ip", "-json", "address"))
        there = {one["local"] for link in held for one in link["addr_info"]}
        assert not there & set(installed.addresses), node
        assert "okitoki" not in env.docker("exec", node, "nft", "list", "tables"), node
        assert sysctls(env, node) == sysctls(env, untouched_node(env)), node
