"""Faults of whole machines: paused, without power, drained."""

from __future__ import annotations

import json
from collections.abc import Sequence

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.faults.base import Fault, Parameters
from okitoki_chaos.steps import Check, Plan, Step
from okitoki_chaos.whole import PART_OF
from okitoki_chaos.world import Target, World

READY = r"jsonpath={range .items[*]}{.status.conditions[?(@.type=='Ready')].status} {end}"


def state(nodes: Sequence[str], wanted: str, words: str) -> Check:
    """All of these machines are in a state."""
    lines = r"\s+".join([wanted] * len(nodes))
    return Check(words, Step("machine", ("state",), tuple(nodes)), rf"^{lines}\s*$", 30)


def plan_pause(world: World, target: Target, parameters: Parameters) -> Plan:
    """Machines frozen with everything on them: they hold their connections and say nothing."""
    nodes = target.nodes
    listed = ", ".join(nodes)
    return Plan(
        "node-pause",
        target.title,
        inject=(Step("machine", ("pause",), nodes),),
        bit=(state(nodes, "paused", f"{listed} is paused"),),
        undo=(Step("machine", ("unpause",), nodes),),
        healed=(state(nodes, "running", f"{listed} runs"),),
        namespaces=world.namespaces_on(nodes),
        nodes=nodes,
    )


def plan_kill(world: World, target: Target, parameters: Parameters) -> Plan:
    """Machines without power, all at the same moment; undone by starting them under their old addresses."""
    nodes = target.nodes
    places = [_place(world, node) for node in nodes]
    listed = ", ".join(nodes)
    return Plan(
        "node-kill",
        target.title,
        inject=(Step("machine", ("kill",), nodes),),
        bit=(state(nodes, "exited", f"{listed} is off"),),
        # The control plane first: the others' kubelets ask it for everything.
        undo=tuple(
            Step("machine", ("start", network, address), (node,))
            for node, (network, address) in sorted(
                zip(nodes, places, strict=True), key=lambda pair: "control-plane" not in pair[0]
            )
        ),
        healed=(state(nodes, "running", f"{listed} runs"),),
        namespaces=world.namespaces_on(nodes),
        nodes=nodes,
        facts={"addresses": dict(zip(nodes, (address for _, address in places), strict=True))},
    )


def _place(world: World, node: str) -> tuple[str, str]:
    """The machine's network and its address there."""
    networks = json.loads(world.cluster.docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", node))
    if len(networks) != 1:
        raise ChaosError(f"{node} is in {len(networks)} networks, not in one")
    ((name, settings),) = networks.items()
    return str(name), str(settings["IPAddress"])


def plan_drain(world: World, target: Target, parameters: Parameters) -> Plan:
    """A node emptied for maintenance, with respect for disruption budgets; undone by letting pods come again."""
    node = target.node
    seconds = int(parameters.get("seconds", 180))
    drain = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={seconds}s")
    look = Step("kubectl", ("get", "node", node, "-o", "jsonpath={.spec.unschedulable}"))
    left = ("get", "pods", "-A", "-l", PART_OF, "--field-selector",
            f"spec.nodeName={node}", "-o", "name")  # fmt: skip
    return Plan(
        "node-drain",
        target.title,
        inject=(Step("kubectl", drain),),
        bit=(
            Check(f"{node} takes no pods", look, "^true$"),
            Check(f"no pod of the platform is left on {node}", Step("kubectl", left), "^$", 30),
        ),
        undo=(Step("kubectl", ("uncordon", node)),),
        healed=(Check(f"{node} takes pods", look, "^$"),),
        namespaces=world.namespaces_on((node,)),
        nodes=(node,),
    )


FAULTS = (
    Fault("node-pause", "machines frozen with everything on them", plan_pause),
    Fault("node-kill", "machines without power, all at once", plan_kill),
    Fault("node-drain", "a node drained, as for maintenance", plan_drain),
)
