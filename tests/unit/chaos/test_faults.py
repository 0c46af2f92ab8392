from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from unit.chaos.fakes import Platform, world_of

from okitoki_chaos import faults
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import NotPossible
from okitoki_chaos.session import grace
from okitoki_chaos.steps import Plan, plan_of

LISTED = "101 5000 1 /usr/bin/python3 /usr/bin/patroni /etc/x\n102 5001 0 /usr/bin/python3 /usr/bin/patroni /etc/x\n"


def planned(platform: Platform, fault: str, target: str, **parameters: Any) -> Plan:
    wanted = [{"fault": fault, "target": target, "parameters": parameters}]
    return faults.plan(world_of(platform), wanted, "acme", "kyiv")


def commands(plan: Plan) -> str:
    return "\n".join(" ".join((*step.where, *step.arguments)) for step in plan.inject)


def test_the_reaper_is_spared_when_a_server_is_killed_by_name() -> None:
    platform = Platform()
    platform.answer(" list ", LISTED)
    plan = planned(platform, "process-kill", "primary", process="patroni")
    assert plan.inject[0].arguments[-1] == "102"
    assert plan.bit[0].step.arguments[-1] == "102:5001"


def test_a_server_that_does_not_run_is_no_target() -> None:
    platform = Platform()
    platform.answer(" list ", "")
    with pytest.raises(ChaosError, match="runs no process that matches"):
        planned(platform, "process-kill", "primary", process="postmaster")


def test_what_is_frozen_is_thawed_by_the_same_words() -> None:
    platform = Platform()
    platform.answer(" list ", LISTED)
    plan = planned(platform, "freeze", "app")
    assert plan.inject[0].arguments[4:6] == ("STOP", ".")
    assert plan.undo[0].arguments[4:6] == ("CONT", ".")
    assert plan.inject[0].arguments[5:] == plan.undo[0].arguments[5:]


def test_a_frozen_servers_states_decide_whether_it_bit_and_healed() -> None:
    platform = Platform()
    platform.answer(" list ", LISTED)
    plan = planned(platform, "freeze", "app")

    def holds(pattern: str, states: str) -> bool:
        return re.search(pattern, states) is not None

    bit, healed = plan.bit[0].pattern, plan.healed[0].pattern
    assert [holds(bit, states) for states in ("TTT", "TST", "S", "none")] == [True, False, False, True]
    assert [holds(healed, states) for states in ("SSR", "none", "TS", "T")] == [True, True, False, False]


def test_a_node_that_was_killed_comes_back_under_its_address() -> None:
    platform = Platform()
    world = world_of(platform)
    plan = planned(platform, "node-kill", "node-of:primary")
    for step in plan.inject:
        world.driver.run(step)
    assert platform.states["node-a"] == "exited"
    for step in plan.undo:
        world.driver.run(step)
    assert platform.states["node-a"] == "running"
    assert "docker network connect --ip 198.18.1.6 okitoki-okitoki node-a" in platform.log


def test_a_node_that_runs_keeps_its_network_when_it_is_started_again() -> None:
    platform = Platform()
    plan = planned(platform, "node-kill", "node-of:primary")
    world_of(platform).driver.run(plan.undo[0])
    assert not [line for line in platform.log if "disconnect" in line]


def test_all_lose_power_at_once_and_the_control_plane_comes_first() -> None:
    plan = planned(Platform(), "node-kill", "all-nodes")
    assert plan.inject[0].where == ("node-a", "node-b", "okitoki-control-plane")
    assert [step.where[0] for step in plan.undo] == ["okitoki-control-plane", "node-a", "node-b"]


def test_a_cut_has_the_wanted_direction_and_counts_what_it_drops() -> None:
    both = commands(planned(Platform(), "network-cut", "node-of:primary"))
    assert 'hook ingress device "eth0" priority -500; counter drop' in both
    assert 'hook egress device "eth0" priority -500; counter drop' in both
    out = commands(planned(Platform(), "network-cut", "node-of:primary", direction="out"))
    assert "ingress" not in out
    assert "egress" in out
    with pytest.raises(ChaosError, match="must be in, out or both"):
        planned(Platform(), "network-cut", "node-of:primary", direction="up")


def test_a_cut_lets_no_announcement_through_that_ip_never_sees() -> None:
    """Seen on a cluster: the node that was cut off went on announcing its addresses, and drew calls to itself."""
    (rules,) = planned(Platform(), "network-cut", "node-of:primary").inject[0].arguments[1:]
    script = f"""
        ip link add eth0 type veth peer name far
        ip link set eth0 up; ip link set far up
        {sys.executable} - <<'END'
import socket
near, far = (socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in range(2))
near.bind(("eth0", 0)); far.bind(("far", 0)); far.settimeout(0.5)
announcement = b"\\xff" * 6 + b"\\x02" * 6 + b"\\x08\\x06" + b"\\x2a" * 40
def heard():
    try:
        near.send(announcement)
    except OSError:
        pass
    try:
        while far.recv(100) != announcement: pass
        return True
    except TimeoutError:
        return False
print("before", heard())
import subprocess
subprocess.run(["nft", "-f", "-"], input={rules!r}, text=True, check=True)
print("after", heard())
END
    """
    apart = ["unshare", "--user", "--map-root-user", "--net", "bash", "-euc"]
    done = subprocess.run([*apart, script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["before", "True", "after", "False"]


def test_a_partition_names_pods_and_their_services_on_the_other_side() -> None:
    platform = Platform()
    services = '{"items": [{"metadata": {"name": "postgres-1"}, "spec": {"clusterIP": "198.19.200.1"}}]}'
    platform.answer("get services", services)
    text = commands(planned(platform, "partition", "primary", peers=["standbys"], direction="out"))
    addresses = [item["status"]["podIP"] for item in platform.pods[1:3]]
    assert all(address in text for address in [*addresses, "198.19.200.1"])
    assert platform.pods[0]["status"]["podIP"] not in text
    assert "saddr" not in text


def test_a_kernel_without_netem_is_reported_and_nothing_is_done() -> None:
    platform = Platform()
    platform.answer("netem", "!Error: Specified qdisc kind is unknown.")
    with pytest.raises(NotPossible, match="kernel has no netem"):
        planned(platform, "delay", "primary")


def test_a_clock_and_a_shared_disk_are_reported_as_not_possible() -> None:
    platform = Platform()
    platform.answer(" list ", LISTED)
    platform.answer("stat -c %d", "66\n66\n")
    for fault in ("clock-step", "disk-full"):
        with pytest.raises(NotPossible, match="not possible with the driver kind"):
            planned(platform, fault, "primary")


def test_two_at_once_are_injected_in_order_and_undone_the_other_way_round() -> None:
    wanted = [
        {"fault": "node-pause", "target": "control-plane"},
        {"fault": "node-pause", "target": "node-of:standby"},
    ]
    plan = faults.plan(world_of(Platform()), wanted, "acme", "kyiv")
    assert plan.inject[0].where == ("okitoki-control-plane",)
    assert plan.undo[-1].where == ("okitoki-control-plane",)
    assert "okitoki-system" in plan.namespaces


def test_an_unknown_fault_or_target_is_told() -> None:
    with pytest.raises(ChaosError, match="no such fault; there are"):
        planned(Platform(), "meteor", "primary")
    with pytest.raises(ChaosError, match="no such target"):
        planned(Platform(), "node-pause", "moon")


def test_targets_are_found_by_what_they_do_now() -> None:
    platform = Platform()
    world = world_of(platform)
    assert world.target("primary", "acme", "kyiv").pod.name == "postgres-0"
    platform.leader = "postgres-2"
    assert world.target("primary", "acme", "kyiv").pod.name == "postgres-2"
    assert {one.name for one in world.target("standbys", "acme", "kyiv").pods} == {"postgres-0", "postgres-1"}
    assert world.target("edge-sip", "acme", "kyiv").pod.name == "edge-0"
    assert world.target("edge-other", "acme", "kyiv").pod.name == "edge-1"
    assert world.target("operator-leader", "acme", "kyiv").pod.name == "operator-1"
    assert world.target("node-of:primary", "acme", "kyiv").node == "node-a"


def test_a_plan_survives_the_disk() -> None:
    platform = Platform()
    platform.answer(" list ", LISTED)
    plan = planned(platform, "freeze", "primary", process="patroni")
    assert plan_of(json.loads(json.dumps(plan.as_json()))) == plan


def reported(*shown: tuple[str, str]) -> str:
    """Tenants and regions that show a certificate of an authority and trust one."""
    certificates = [{"authority": of, "trusted": [trusted]} for of, trusted in shown]
    return json.dumps({"items": [{"kind": "Tenant", "status": {"certificate": one}} for one in certificates]})


def test_an_authority_is_replaced_when_nothing_shows_or_trusts_the_old_one() -> None:
    platform = Platform()
    old, new = "a" * 16, "b" * 16
    platform.answer("get voiceregions", reported((old, old), (old, old)))
    (check,) = planned(platform, "authority-replaced", "operators").bit

    def over(*shown: tuple[str, str]) -> bool:
        text = "".join(f"[{of} of [{trusted}]]" for of, trusted in shown)
        return re.search(check.pattern, text) is not None

    assert over((new, f'"{new}"'), (new, f'"{new}"'))
    assert not over((new, f'"{new}"'))
    assert not over((old, f'"{old}"'), (new, f'"{new}"'))
    assert not over((new, f'"{new}","{old}"'), (new, f'"{new}"'))
    assert not over(("", f'"{new}"'), (new, f'"{new}"'))


def test_an_authority_is_not_replaced_while_another_one_still_is() -> None:
    platform = Platform()
    platform.answer("get voiceregions", reported(("a" * 16, "a" * 16), ("b" * 16, "b" * 16)))
    with pytest.raises(ChaosError, match="of one authority and trusts it alone"):
        planned(platform, "authority-replaced", "operators")


def test_a_change_that_nobody_undoes_is_not_ended_by_the_watchdog_before_it_is_through() -> None:
    """Seen in a drill: another authority took two and a half minutes, and was called a failure after two."""
    platform = Platform()
    platform.answer("get voiceregions", reported(("a" * 16, "a" * 16)))
    plan = planned(platform, "authority-replaced", "operators")
    assert grace(plan) > max(check.within for check in plan.bit)
    assert grace(planned(Platform(), "node-pause", "control-plane")) < grace(plan)
