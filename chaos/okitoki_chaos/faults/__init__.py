"""Every fault by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import NotPossible
from okitoki_chaos.faults import network, nodes, platform, pods, processes
from okitoki_chaos.faults.base import Fault
from okitoki_chaos.steps import Plan, together
from okitoki_chaos.world import World

FAULTS: Mapping[str, Fault] = {
    fault.name: fault for fault in (*processes.FAULTS, *pods.FAULTS, *nodes.FAULTS, *network.FAULTS, *platform.FAULTS)
}


def plan(world: World, wanted: Sequence[Mapping[str, Any]], tenant: str, region: str) -> Plan:
    """One fault, or several at once. Each of `wanted` is {fault, target, parameters?} as in an experiment's file.

    Raises ChaosError for a bad description or a target that is not there, NotPossible where the driver cannot do it.
    """
    if not wanted:
        raise ChaosError("no fault is named")
    plans = []
    for one in wanted:
        fault = FAULTS.get(str(one.get("fault")))
        if fault is None:
            raise ChaosError(f"{one.get('fault')}: no such fault; there are {', '.join(sorted(FAULTS))}")
        if why := world.driver.cannot.get(fault.name):
            raise NotPossible(f"{fault.name} is not possible with the driver {world.driver.name}: {why}")
        target = world.target(str(one.get("target")), tenant, region)
        parameters = {"tenant": tenant, "region": region, **one.get("parameters", {})}
        plans.append(fault.plan(world, target, parameters))
    whole = plans[0] if len(plans) == 1 else together(plans)
    world.driver.require(whole)
    return whole
