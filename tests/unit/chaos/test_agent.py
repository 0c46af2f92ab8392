"""The driver for clusters that are not kind, by a fake `kubectl exec`; the cut's way back in with real packets."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from unit.chaos.fakes import REGION, TENANT, Platform, agent_driver, opted_in, world_of_every_experiment

from okitoki_chaos import agent, faults
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import NotPossible
from okitoki_chaos.experiments import load, names
from okitoki_chaos.journal import undo
from okitoki_chaos.steps import Plan
from okitoki_chaos.world import World


@pytest.fixture
def platform() -> Platform:
    return opted_in()


def planned(platform: Platform, fault: str, target: str, driver: dict[str, Any] | None = None, **given: Any) -> Plan:
    world = World(agent_driver(platform, **(driver or {})), [TENANT, REGION])
    return faults.plan(world, [{"fault": fault, "target": target, "parameters": given}], "acme", "kyiv")


def rules(plan: Plan) -> str:
    return plan.inject[0].arguments[-1]


def test_a_command_for_a_node_goes_into_the_agent_on_it(platform: Platform) -> None:
    driver = agent_driver(platform)
    plan = planned(platform, "freeze", "app")
    driver.run(plan.inject[0])
    (line,) = [one for one in platform.log if "STOP" in one]
    assert line.startswith(f"{plan.inject[0].where[0]}: bash -c ")


def test_the_agents_pod_is_looked_up_again_after_a_failure(platform: Platform) -> None:
    cluster = agent_driver(platform).cluster
    cluster.on_node("node-a", "true")
    looks = sum("chaos-agent" in line for line in platform.log)
    cluster.on_node("node-a", "true")
    assert sum("chaos-agent" in line for line in platform.log) == looks
    platform.answer("false", "!command terminated with exit code 1")
    with pytest.raises(ChaosError, match="exit code 1"):
        cluster.on_node("node-a", "false")
    cluster.on_node("node-a", "true")
    assert sum("chaos-agent" in line for line in platform.log) == looks + 1


@pytest.mark.parametrize(
    ("fault", "target", "why"),
    [
        ("node-pause", "node-of:primary", "who thaws a machine must be outside of it"),
        ("clock-step", "primary", "its time service sets it back"),
    ],
)
def test_what_can_never_be_done_is_told_before_anything_is_looked_at(
    platform: Platform, fault: str, target: str, why: str
) -> None:
    with pytest.raises(NotPossible, match=why):
        planned(platform, fault, target)
    assert platform.log == []


def test_a_machine_that_stays_off_is_not_possible_and_one_that_comes_back_is(platform: Platform) -> None:
    with pytest.raises(NotPossible, match="nobody here could start it"):
        planned(platform, "node-kill", "node-of:standby", returns=False)
    plan = planned(platform, "node-kill", "node-of:primary")
    assert "sysrq b" in plan.lines()[1]
    assert plan.undo == ()

    def holds(check: Any, words: str) -> bool:
        return re.search(check.pattern, words) is not None

    bit, healed = plan.bit[0], plan.healed[0]
    states = ("b-1 True", "b-1 Unknown", "b-2 False", "b-2 True")
    assert [holds(bit, state) for state in states] == [False, True, True, True]
    assert [holds(healed, state) for state in states] == [False, False, False, True]


def test_a_node_that_is_a_container_is_never_rebooted(platform: Platform) -> None:
    """Its kernel is the machine's under it: on kind a reboot would take everything down."""
    platform.answer("run/systemd/container", "container\n")
    with pytest.raises(NotPossible, match="node-a is a container"):
        planned(platform, "node-kill", "node-of:primary")
    refused = subprocess.run(
        ["bash", "-c", agent.REBOOT.replace("/proc/1/root/run/systemd/container", "/dev/null")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "would be the machine's" in refused.stderr


def test_a_node_without_the_label_has_no_agent_and_that_is_said(platform: Platform) -> None:
    platform.pods = [one for one in platform.pods if one["metadata"]["name"] != "agent-node-a"]
    for fault, target in (("freeze", "primary"), ("network-cut", "node-of:primary")):
        with pytest.raises(NotPossible, match=r"node-a has no agent: label the node .*chaos=allowed"):
            planned(platform, fault, target, process="patroni")
    planned(platform, "pod-delete", "primary")  # needs no node


def test_an_agent_that_is_away_for_a_moment_is_a_failure_and_no_gap(platform: Platform) -> None:
    for item in platform.pods:
        if item["metadata"]["name"].startswith("agent-"):
            item["status"]["conditions"][0]["status"] = "False"
    with pytest.raises(ChaosError, match="the agent on node-a is not ready") as found:
        planned(platform, "freeze", "primary", process="patroni")
    assert not isinstance(found.value, NotPossible)


def test_what_needs_a_right_that_the_release_does_not_give_is_not_possible(platform: Platform) -> None:
    for fault, target, right in (
        ("node-drain", "node-of:primary", "drain"),
        ("operators-gone", "operators", "operators"),
        ("pod-and-volume", "standby", "volumes"),
        ("pod-kill", "operator-leader", "operators"),
        ("asynchronous", "primary", "exec"),
    ):
        platform.answer("get deployment", '{"spec": {"replicas": 2}}')
        with pytest.raises(NotPossible, match=rf"allow\.{right}"):
            planned(platform, fault, target)
        planned(platform, fault, target, {"allow": [right]})


def test_the_drills_own_node_and_the_only_watchdogs_are_spared(platform: Platform) -> None:
    with pytest.raises(NotPossible, match="the drill itself runs on node-a"):
        planned(platform, "network-cut", "node-of:primary", {"own_node": "node-a"})
    platform.pods[-1]["spec"]["nodeName"] = "node-a"
    with pytest.raises(NotPossible, match="the only watchdog runs on node-a"):
        planned(platform, "network-cut", "node-of:primary")
    platform.pods.pop()
    with pytest.raises(ChaosError, match="no watchdog is ready") as found:
        planned(platform, "pod-delete", "primary")
    assert not isinstance(found.value, NotPossible)  # a drill without time limits fails, it is no mere gap


def test_a_cut_names_the_nodes_own_device_and_ends_by_the_kernels_clock(platform: Platform) -> None:
    text = rules(planned(platform, "network-cut", "node-of:primary"))
    assert 'hook ingress device "ens5"' in text
    assert f'"ens5" timeout {agent.CUT_SECONDS}s' in text


def test_no_experiment_holds_a_cut_for_longer_than_the_kernel_keeps_it() -> None:
    for name in names():
        if any(one["fault"] == "network-cut" for one in load(name).faults):
            assert load(name).document["configuration"]["hold"] < agent.CUT_SECONDS


def test_a_partition_leaves_the_way_to_the_agent_open(platform: Platform) -> None:
    platform.answer("get service", "10.96.0.1")
    platform.answer("get services", '{"items": []}')
    text = rules(planned(platform, "partition", "edge-sip", peers=["api-server"]))
    for hook, spared in (("prerouting", "dport"), ("input", "dport"), ("output", "sport"), ("postrouting", "sport")):
        chain = next(line for line in text.splitlines() if f"chain {hook}" in line)
        assert chain.index(f"tcp {spared} 10250 accept") < chain.index("drop")


def test_a_pod_on_its_nodes_network_is_cut_as_its_node_is(platform: Platform) -> None:
    for item in platform.pods:
        item["spec"]["hostNetwork"] = item["metadata"]["name"].startswith("edge")
    assert "ens5" in rules(planned(platform, "network-cut", "edge-sip"))
    assert "eth0" in rules(planned(platform, "network-cut", "primary"))


CUT = """
    ip netns add far
    ip link add ens5 type veth peer name there netns far
    ip addr add 198.18.1.6/24 dev ens5; ip link set ens5 up; ip link set lo up
    ip -n far addr add 198.18.1.9/24 dev there; ip -n far link set there up
    cat > $TMPDIR/serve.py <<'END'
import socket, threading
def serve(port):
    with socket.create_server(("", port)) as server:
        while True: server.accept()[0].close()
for port in (10250, 8443): threading.Thread(target=serve, args=(port,)).start()
END
    $PYTHON $TMPDIR/serve.py & server=$!
    call() { ip netns exec far $PYTHON -c "from socket import *; create_connection(('198.18.1.6', $1), 1)"; }
    reach() { call $1 && echo "$2 yes" || echo "$2 no"; }
    until [ "$(reach 8443 x)" = "x yes" ]; do sleep 0.1; done
    nft -f - <<< "$RULES"
    ip -n far neigh flush dev there; ip neigh flush dev ens5
    reach 10250 kubelet; reach 8443 other
    sleep 3
    reach 8443 later
    kill $server
"""


def test_a_cut_is_total_but_for_the_way_that_undoes_it_and_ends_by_itself(
    platform: Platform, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "CUT_SECONDS", 3)
    given = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "RULES": rules(planned(platform, "network-cut", "node-of:primary")),
    }
    done = subprocess.run(
        ["unshare", "--net", "--mount", "bash", "-euc", f"mount -t tmpfs none /run; {CUT}"],
        env={**given, "PYTHON": sys.executable, "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["kubelet", "yes", "other", "no", "later", "yes"]


def test_what_is_frozen_is_thawed_by_another_process_through_another_agent_pod(platform: Platform) -> None:
    plan = planned(platform, "freeze", "primary", process="patroni")
    platform.answer(" states ", "S")
    for item in platform.pods:
        item["metadata"]["name"] = item["metadata"]["name"].replace("agent-", "new-agent-")
    assert undo(agent_driver(platform), plan) == ["S"]


def test_every_experiment_is_planned_or_says_why_not(platform: Platform) -> None:
    """Nothing is left out in silence: each experiment's faults either make a plan or name what stands in the way."""
    world = world_of_every_experiment(platform)
    found: dict[str, str] = {}
    for name in names():
        try:
            faults.plan(world, load(name).faults, "acme", "kyiv")
        except NotPossible as error:
            found[name] = str(error)
    assert set(found) >= {"primary-node-paused", "api-server-gone", "all-power-lost", "member-node-never-returns"}
    assert not {"primary-pod-kill", "primary-frozen", "primary-node-cut", "primary-node-killed", "app-killed"} & set(
        found
    )
