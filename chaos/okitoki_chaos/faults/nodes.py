"""Faults of whole machines: paused, without power, drained."""

from __future__ import annotations

from okitoki_chaos.driver import Deed
from okitoki_chaos.faults.base import Fault, Parameters
from okitoki_chaos.steps import Check, Plan, Step
from okitoki_chaos.whole import PART_OF
from okitoki_chaos.world import Target, World


def plan_pause(world: World, target: Target, parameters: Parameters) -> Plan:
    """Machines frozen with everything on them: they hold their connections and say nothing."""
    return _plan("node-pause", world, target, world.driver.pause(target.nodes))


def plan_kill(world: World, target: Target, parameters: Parameters) -> Plan:
    """Machines without power, all at the same moment; undone by starting them. `returns`: false where the experiment
    is about a machine that stays away."""
    deed = world.driver.power_off(target.nodes, returns=bool(parameters.get("returns", True)))
    return _plan("node-kill", world, target, deed)


def _plan(fault: str, world: World, target: Target, deed: Deed) -> Plan:
    return Plan(
        fault,
        target.title,
        inject=deed.inject,
        bit=deed.bit,
        undo=deed.undo,
        healed=deed.healed,
        namespaces=world.namespaces_on(target.nodes),
        nodes=target.nodes,
        facts=deed.facts,
    )


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
