"""Puts a tenant's primary on the node of the operator that leads, so that one loss takes both."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import NotPossible
from okitoki_chaos.steps import Plan, Step
from okitoki_chaos.world import SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from okitoki_chaos.session import Session


def choose(members: Mapping[str, str], operators: Sequence[tuple[str, str]], leader: str) -> tuple[str, str]:
    """(member, operator) that share a node, the leading operator if it can be. `members` is name -> node, `operators`
    (name, node). Raises ChaosError when no two share one. Pure."""
    for name, node in sorted(operators, key=lambda one: one[0] != leader):
        for member, place in sorted(members.items()):
            if place == node:
                return member, name
    raise ChaosError("no member of the database shares a node with an operator")


def bring(session: Session, tenant: str, limit: float) -> str:
    """Delete an operator that leads elsewhere, switch over to the member on the other's node; returns the node."""
    world = session.world
    found = world.target("members", tenant, session.settings.regions[0]).pods
    operators = [(pod.name, pod.node) for pod in world.target("operators", tenant, "").pods]
    leader = world.target("operator-leader", tenant, "").pod.name
    member, operator = choose({pod.name: pod.node for pod in found}, operators, leader)
    delete = Step("kubectl", ("delete", "pod", leader, "-n", SYSTEM_NAMESPACE, "--wait=false"))
    patroni = ("patronictl", "-c", "/etc/patroni/patroni.yaml", "switchover", "--force", "--candidate", member)
    switch = Step("kubectl", ("exec", "-n", f"tenant-{tenant}", found[0].name, "-c", "postgres", "--", *patroni))
    try:
        session.driver.require(Plan("bring-together", tenant, inject=(delete, switch), bit=()))
    except NotPossible as error:
        session.outcome.not_possible = str(error)
        raise
    if operator != leader:
        session.driver.run(delete)
    if found[0].name != member:
        session.driver.run(switch)
    until = time.monotonic() + limit
    while time.monotonic() < until:
        try:
            places = {world.target(name, tenant, "").pod.node for name in ("primary", "operator-leader")}
        except ChaosError:
            places = set()
        if len(places) == 1 and not session.not_whole():
            return places.pop()
        time.sleep(1)
    raise ChaosError(f"the primary of {tenant} and the leading operator did not come together in {limit:.0f} s")
