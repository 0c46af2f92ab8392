"""Faults of the network: cut, partitioned (one way or both), lossy, slow, late.

Rules live in an nftables table of their own in the network namespace of the target (a pod's, or a node's). Its counters
prove that the fault bit: packets were really dropped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from okitoki_chaos.cluster import ChaosError, Pod
from okitoki_chaos.driver import Link, NotPossible
from okitoki_chaos.faults.base import Fault, Parameters, first_process
from okitoki_chaos.steps import Check, Plan, Step
from okitoki_chaos.world import Target, World

TABLE = "okitoki-drill"
IN, OUT = "in", "out"
DEVICE = "eth0"

# Early enough that nothing else has answered, and before addresses are translated.
HOOKS = {IN: ("prerouting", "input"), OUT: ("output", "postrouting")}


class Place:
    """A network namespace: a node's, or a pod's on its node."""

    def __init__(self, node: str, pid: int | None = None) -> None:
        self.node = node
        self._enter = ("nsenter", "-t", str(pid), "-n") if pid else ()

    def step(self, *command: str, words: str = "") -> Step:
        return Step("node", (*self._enter, *command), (self.node,), words)


def place(world: World, target: Target) -> Place:
    """Where the target's traffic passes."""
    if target.nodes:
        return Place(target.node)
    pod = target.pod
    return Place(pod.node, first_process(world, pod))


def link_of(world: World, target: Target) -> Link:
    """The target's way to everybody else: a pod has one of its own, unless it is on its node's network."""
    if target.nodes:
        return world.driver.link(target.node)
    return world.driver.link(target.pod.node) if target.pod.host_network else Link(DEVICE)


def directions(parameters: Parameters) -> tuple[str, ...]:
    """`direction`: `in`, `out` or `both` (as the target sees it)."""
    wanted = str(parameters.get("direction", "both"))
    if wanted not in {IN, OUT, "both"}:
        raise ChaosError(f"direction {wanted!r}: must be in, out or both")
    return (IN, OUT) if wanted == "both" else (wanted,)


def rules_plan(world: World, target: Target, fault: str, rules: Sequence[tuple[str, str]]) -> Plan:
    """A table with rules (hook, rule) for IP packets; what the driver needs to undo them passes before any of them."""
    lines = []
    for hook in dict.fromkeys(hook for hook, _ in rules):
        way = IN if hook in HOOKS[IN] else OUT
        spared = [f"{one} accept" for one in world.driver.spared_ports.get(way, ())]
        mine = " ".join(f"{rule};" for rule in [*spared, *(rule for at, rule in rules if at == hook)])
        lines.append(f" chain {hook} {{ type filter hook {hook} priority -450; policy accept; {mine} }}")
    return table_plan(world, target, fault, "inet", lines, [rule for _, rule in rules])


def table_plan(
    world: World, target: Target, fault: str, family: str, chains: Sequence[str], rules: Sequence[str]
) -> Plan:
    """An nft table of a family, with its chains; `rules` are for people."""
    where = place(world, target)
    lines = [f"table {family} {TABLE} {{", *chains, "}"]
    remove = f"nft delete table {family} {TABLE}; true"
    listing = where.step("nft", "list", "tables")
    return Plan(
        fault,
        target.title,
        inject=(where.step("nft", "\n".join(lines), words=f"nft rules: {'; '.join(rules)}"),),
        bit=(
            Check(
                "packets were dropped",
                where.step("nft", "list", "table", family, TABLE),
                r"packets [1-9][0-9]* bytes [0-9]+ drop",
                15,
            ),
        ),
        undo=(where.step("bash", "-c", remove, words="the rules removed"),),
        healed=(Check("the rules are gone", listing, rf"^(?![\s\S]*{TABLE})"),),
        namespaces=_namespaces(world, target),
        nodes=target.nodes,
        facts={"node": where.node, "rules": list(rules)},
    )


def _namespaces(world: World, target: Target) -> tuple[str, ...]:
    return tuple({pod.namespace for pod in target.pods}) or world.namespaces_on(target.nodes)


def plan_cut(world: World, target: Target, parameters: Parameters) -> Plan:
    """A node's or pod's network cut, in one direction or both. The node lives on, and its pods reach each other.

    At the device, as a pulled cable is: keepalived announces addresses through packet sockets, which hooks of IP and
    ARP never see, and a node that is cut off but announces itself every second draws the others' packets to itself.
    """
    ways = directions(parameters)
    link = link_of(world, target)
    device = str(parameters.get("device", link.device))
    hooks = {IN: ("ingress", "iifname"), OUT: ("egress", "oifname")}
    chains = []
    if link.seconds:
        # A set whose only element runs out: the kernel itself ends the cut, whatever became of everybody else.
        element = f'"{device}" timeout {link.seconds}s'
        chains.append(f" set cut {{ type ifname; flags timeout; elements = {{ {element} }}; }}")
    for way in ways:
        hook, name = hooks[way]
        rules = [f"{one} accept;" for one in link.spared.get(way, ())]
        rules.append(f"{name} @cut counter drop;" if link.seconds else "counter drop;")
        chains.append(f' chain {way} {{ type filter hook {hook} device "{device}" priority -500; {" ".join(rules)} }}')
    told = [f"{device} {hooks[way][0]} counter drop" for way in ways]
    told += [f"but for {one}" for way in ways for one in link.spared.get(way, ())]
    told += [f"for {link.seconds} s at most"] if link.seconds else []
    return table_plan(world, target, "network-cut", "netdev", chains, told)


def peers_of(world: World, target: Target, parameters: Parameters) -> list[str]:
    """Addresses of the other side of a partition: of `peers` (targets), and of the Services that lead to them alone."""
    tenant, region = str(parameters["tenant"]), str(parameters["region"])
    found: list[str] = []
    for expression in parameters["peers"]:
        if expression == "api-server":
            found += api_addresses(world)
            continue
        other = world.target(expression, tenant, region)
        found += [pod.address for pod in other.pods]
        found += service_addresses(world, other.pods)
        found += [node_address(world, node) for node in other.nodes]
    own = {pod.address for pod in target.pods}
    chosen = [one for one in dict.fromkeys(found) if one and one not in own]
    if not chosen:
        raise ChaosError(f"a partition of {target.title} from nobody")
    return chosen


def api_addresses(world: World) -> list[str]:
    service = world.cluster.kubectl(
        "get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}"
    ).strip()
    return [service, *(node_address(world, node) for node in world.control_plane())]


def node_address(world: World, node: str) -> str:
    path = "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}"
    return world.cluster.kubectl("get", "node", node, "-o", path).strip()


def service_addresses(world: World, pods: Sequence[Pod]) -> list[str]:
    """Addresses of the Services that are named after a pod: a connection out of a pod goes to those."""
    found = []
    for namespace in {pod.namespace for pod in pods}:
        names = {pod.name for pod in pods if pod.namespace == namespace}
        items = json.loads(world.cluster.kubectl("get", "services", "-n", namespace, "-o", "json"))["items"]
        found += [
            item["spec"]["clusterIP"]
            for item in items
            if item["metadata"]["name"] in names and item["spec"].get("clusterIP") not in {None, "None"}
        ]
    return found


def plan_partition(world: World, target: Target, parameters: Parameters) -> Plan:
    """The target and `peers` no longer hear each other (or one no longer hears the other: `direction`)."""
    ways = directions(parameters)
    addresses = ", ".join(peers_of(world, target, parameters))
    rules = []
    for hook in HOOKS[IN] if IN in ways else ():
        rules.append((hook, f"ip saddr {{ {addresses} }} counter drop"))
    for hook in HOOKS[OUT] if OUT in ways else ():
        rules.append((hook, f"ip daddr {{ {addresses} }} counter drop"))
    return rules_plan(world, target, "partition", rules)


def plan_loss(world: World, target: Target, parameters: Parameters) -> Plan:
    """A share of the packets lost, at random, in one direction or both; loopback is spared."""
    percent = int(parameters.get("percent", 10))
    if not 1 <= percent <= 99:
        raise ChaosError(f"a loss of {percent} %: must be 1 to 99")
    ways = directions(parameters)
    rule = f"numgen random mod 100 < {percent} counter drop"
    rules = [("prerouting", f'iifname != "lo" {rule}')] if IN in ways else []
    rules += [("postrouting", f'oifname != "lo" {rule}')] if OUT in ways else []
    return rules_plan(world, target, "packet-loss", rules)


def _queue_plan(world: World, target: Target, fault: str, discipline: Sequence[str]) -> Plan:
    """A queueing discipline on the target's device."""
    where = place(world, target)
    device = link_of(world, target).device
    show = where.step("tc", "-s", "qdisc", "show", "dev", device)
    kind = discipline[0]
    return Plan(
        fault,
        target.title,
        inject=(where.step("tc", "qdisc", "replace", "dev", device, "root", *discipline),),
        bit=(Check(f"packets went through {kind}", show, rf"qdisc {kind} [\s\S]*Sent [1-9][0-9]* bytes", 15),),
        undo=(where.step("tc", "qdisc", "del", "dev", device, "root"),),
        healed=(Check(f"{kind} is gone", show, rf"^(?![\s\S]*qdisc {kind})"),),
        namespaces=_namespaces(world, target),
        nodes=target.nodes,
        facts={"discipline": " ".join(discipline), "node": where.node},
    )


def require_discipline(world: World, node: str, discipline: Sequence[str]) -> None:
    """Try it where it hurts nobody: in a network namespace that ends with the command."""
    trial = ("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", *discipline)
    try:
        world.cluster.on_node(node, *trial)
    except Exception as error:
        if "Specified qdisc" in str(error) or "Unknown" in str(error):
            raise NotPossible(f"not possible here: the node's kernel has no {discipline[0]}") from error
        raise


def plan_slow(world: World, target: Target, parameters: Parameters) -> Plan:
    """A link of `kilobits` per second out of the target."""
    rate = int(parameters.get("kilobits", 512))
    discipline = ("tbf", "rate", f"{rate}kbit", "burst", "16kb", "latency", "400ms")
    require_discipline(world, target.pods[0].node if target.pods else target.node, discipline)
    return _queue_plan(world, target, "slow-link", discipline)


def plan_delay(world: World, target: Target, parameters: Parameters) -> Plan:
    """Every packet out of the target `milliseconds` later."""
    discipline = ("netem", "delay", f"{int(parameters.get('milliseconds', 200))}ms")
    require_discipline(world, target.pods[0].node if target.pods else target.node, discipline)
    return _queue_plan(world, target, "delay", discipline)


def plan_mute(world: World, target: Target, parameters: Parameters) -> Plan:
    """Audio (UDP of the region's media ports) to the carriers no longer leaves an edge node: a control."""
    region = next(obj for obj in world.objects if obj["kind"] == "VoiceRegion")
    ports = region["spec"]["media"]["portRange"]
    to = ", ".join(host for carrier in region["spec"]["carriers"] for host in carrier["hosts"])
    rule = f"ip daddr {{ {to} }} udp sport {ports['from']}-{ports['to']} counter drop"
    return rules_plan(world, target, "mute", [("output", rule)])


FAULTS = (
    Fault("network-cut", "a node's or pod's network cut, both ways or one way", plan_cut),
    Fault("partition", "two sets of servers no longer hear each other, both ways or one way", plan_partition),
    Fault("packet-loss", "a share of the packets lost", plan_loss),
    Fault("slow-link", "a link of few kilobits per second", plan_slow),
    Fault("delay", "packets out of a target later", plan_delay),
    Fault("mute", "audio away in one direction (a control: it must be caught)", plan_mute),
)
