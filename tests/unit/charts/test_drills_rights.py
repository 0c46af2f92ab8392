"""The drill's rights suffice for the kubectl commands of every experiment that is possible, and of what is around."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unit.chaos.fakes import opted_in, world_of_every_experiment

from okitoki_chaos import faults
from okitoki_chaos.cluster_journal import ClusterJournal
from okitoki_chaos.driver import NotPossible
from okitoki_chaos.experiments import load, names
from okitoki_chaos.guard import require
from okitoki_chaos.lock import ClusterLock
from okitoki_chaos.observers import WATCHES
from okitoki_chaos.steps import Plan
from okitoki_chaos.world import World

from .conftest import Render
from .test_drills_chart import CHART, EVERY, Right, rights

PLURAL = {
    "pod": "pods", "node": "nodes", "pvc": "persistentvolumeclaims", "service": "services", "lease": "leases",
    "configmap": "configmaps", "deployment": "deployments", "statefulset": "statefulsets",
}  # fmt: skip
VERBS = {
    "get": ("get",), "delete": ("get", "delete"), "patch": ("get", "patch"), "restart": ("get", "patch"),
    "status": ("get", "list", "watch"), "uncordon": ("get", "patch"), "drain": ("get", "patch"),
    "exec": ("get",), "scale": ("get",),
}  # fmt: skip


def needed(words: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """(resource, name, verb, namespace) of a command, as kubectl asks for them."""
    namespace = words[words.index("-n") + 1] if "-n" in words else ""
    plain = list(words[: words.index("--")]) if "--" in words else list(words)
    plain = [word for before, word in zip(["", *plain], plain, strict=False) if "-n" not in (before, word)]
    plain = [word for word in plain if word != "--watch"]
    verb, *rest = plain
    if verb == "rollout":
        verb, *rest = rest
    if verb == "exec":
        yield "pods/exec", "", "create", namespace
        rest = ["pods", words[3]]
    if verb in {"uncordon", "drain"}:
        rest = ["nodes", *rest]
    if verb == "drain":
        yield from (("pods/eviction", "", "create", ""), ("daemonsets", "", "get", ""), ("pods", "", "list", ""))
    kind, _, name = rest[0].partition("/")
    name = name or (rest[1] if len(rest) > 1 and not rest[1].startswith("-") else "")
    field = next((word.partition("metadata.name=")[2] for word in words if word.startswith("metadata.name=")), "")
    for one in kind.split(","):
        resource = PLURAL.get(one.partition(".")[0], one.partition(".")[0])
        if verb == "scale":
            yield f"{resource}/scale", name, "patch", namespace
        for right in VERBS[verb] if name else ("list", *VERBS[verb][1:], *(("watch",) if "--watch" in words else ())):
            yield resource, name or field, right, namespace


def granted(given: set[Right], resource: str, name: str, verb: str, namespace: str) -> bool:
    return any(
        (what, verb, where) in given
        for what in (resource, f"{resource}:{name}") for where in (namespace, "")
    )  # fmt: skip


def commands() -> Iterator[Sequence[str]]:
    """What is asked and done: by planning, consent, the lock, the journal and observers, and by the plans' steps."""
    platform = opted_in()
    world = world_of_every_experiment(platform, allow=("drain", "volumes", "operators", "exec"))
    driver = world.driver
    for name in names():
        try:
            plan = faults.plan(world, load(name).faults, "acme", "kyiv")
        except NotPossible:
            continue
        yield from (step.arguments for step in plan.steps if step.tool == "kubectl")
    require(world, plan_of(world))
    with ClusterLock(driver.cluster, "one") as lock:
        lock.renew()
    journal = ClusterJournal(driver.cluster, "somewhere")
    journal.close(journal.announce(plan_of(world), 1), "x")
    journal.forget_closed()
    for watch in WATCHES:
        yield ("get", "--watch", *watch.arguments)
    for line in platform.log:
        if line.startswith("kubectl "):
            yield line.removeprefix("kubectl ").replace("okitoki-drills", "somewhere").split()


def plan_of(world: World) -> Plan:
    return faults.plan(world, [{"fault": "pod-delete", "target": "app"}], "acme", "kyiv")


def test_every_command_of_a_drill_is_allowed(render: Render) -> None:
    given = rights(render(CHART, *EVERY), "release-drill")
    asked = {right for words in commands() if words[0] not in {"create"} for right in needed(words)}
    assert len(asked) > 30
    assert sorted(one for one in asked if not granted(given, *one)) == []
    used = {verb for _, _, verb, _ in asked}
    assert {"get", "list", "watch", "patch", "delete"} <= used
