"""Faults of what runs the platform, planned changes, and the fault that is none."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import NotPossible
from okitoki_chaos.faults.base import Fault, Parameters, names_of, processes
from okitoki_chaos.steps import Check, Plan, Step
from okitoki_chaos.world import OPERATOR, RESOURCES, SYSTEM_NAMESPACE, Target, World

_ONE = "jsonpath={.metadata.uid} {.status.containerStatuses[*].containerID}"
OPERATOR_DEPLOYMENT = "okitoki-operator"
AUTHORITY = "okitoki-ca"
RENEWAL = "platform.oki-toki.net/renew-certificate"


def plan_operators_gone(world: World, target: Target, parameters: Parameters) -> Plan:
    """Every operator ended, and none started until it is undone."""
    found = json.loads(
        world.cluster.kubectl("get", "deployment", OPERATOR_DEPLOYMENT, "-n", SYSTEM_NAMESPACE, "-o", "json")
    )
    count = int(found["spec"]["replicas"])
    if count < 1:
        raise ChaosError("no operator is wanted, so none can be taken away")
    scale = ("scale", "deployment", OPERATOR_DEPLOYMENT, "-n", SYSTEM_NAMESPACE)
    listed = Step("kubectl", ("get", "pods", "-n", SYSTEM_NAMESPACE, "-l", OPERATOR, "-o", "name"))
    wanted = Step(
        "kubectl",
        ("get", "deployment", OPERATOR_DEPLOYMENT, "-n", SYSTEM_NAMESPACE, "-o", "jsonpath={.spec.replicas}"),
    )
    kill = ("delete", "pods", "-n", SYSTEM_NAMESPACE, "-l", OPERATOR, "--force", "--grace-period=0")
    return Plan(
        "operators-gone",
        target.title,
        inject=(Step("kubectl", (*scale, "--replicas=0")), Step("kubectl", kill)),
        bit=(Check("no operator is left", listed, "^$", 30),),
        undo=(Step("kubectl", (*scale, f"--replicas={count}")),),
        healed=(Check(f"{count} operators are wanted", wanted, f"^{count}$"),),
        namespaces=(SYSTEM_NAMESPACE,),
    )


def plan_roll(world: World, target: Target, parameters: Parameters) -> Plan:
    """A planned change: every pod of a workload replaced in its own order, as by a new image or configuration."""
    namespace, workload = target.pods[0].namespace, str(parameters["workload"])
    if namespace == SYSTEM_NAMESPACE and workload != f"deployment/{OPERATOR_DEPLOYMENT}":
        raise ChaosError(f"{workload}: not a workload of the platform in {namespace}")
    seconds = int(parameters.get("seconds", 300))
    path = "jsonpath={.spec.updateStrategy.type}"
    manual = world.cluster.kubectl("get", workload, "-n", namespace, "-o", path).strip() == "OnDelete"
    look = Step("kubectl", ("rollout", "status", workload, "-n", namespace, f"--timeout={seconds}s"))
    old = {pod.uid for pod in target.pods}
    uids = Step(
        "kubectl",
        ("get", "pods", "-n", namespace, "-l", str(parameters["selector"]), "-o", "jsonpath={.items[*].metadata.uid}"),
    )
    none_of = "".join(rf"(?![\s\S]*{uid})" for uid in sorted(old))
    return Plan(
        "planned-change",
        f"{workload} in {namespace}",
        # Of a workload whose pods the operator replaces itself (OnDelete), kubectl tells no status.
        inject=(Step("kubectl", ("rollout", "restart", workload, "-n", namespace)), *(() if manual else (look,))),
        bit=(Check("every pod that was there is replaced", uids, f"^{none_of}", seconds if manual else 60),),
        namespaces=(namespace,),
        facts={"replaced": [pod.title for pod in target.pods]},
    )


def plan_authority(world: World, target: Target, parameters: Parameters) -> Plan:
    """A planned change: the platform's authority and every certificate replaced. Over when no Tenant and no VoiceRegion
    shows or trusts the old one."""
    listed = json.loads(world.cluster.kubectl("get", RESOURCES, "-o", "json"))["items"]
    certificates = [one.get("status", {}).get("certificate", {}) for one in listed]
    shown = {one.get("authority") for one in certificates}
    if len(shown) != 1 or None in shown or any(len(one.get("trusted", ())) != 1 for one in certificates):
        raise ChaosError("not every Tenant and VoiceRegion shows a certificate of one authority and trusts it alone")
    asked = f"{RENEWAL}={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    template = "jsonpath={range .items[*]}[{.status.certificate.authority} of {.status.certificate.trusted}]{end}"
    (old,) = shown
    one_other = rf'\[(?!{old})(?P<id>[0-9a-f]{{16}}) of \["(?P=id)"\]\]'
    return Plan(
        "authority-replaced",
        target.title,
        inject=(Step("kubectl", ("annotate", "secret", AUTHORITY, "-n", SYSTEM_NAMESPACE, asked, "--overwrite")),),
        bit=(
            Check(
                f"authority {old} is neither shown nor trusted by anything",
                Step("kubectl", ("get", RESOURCES, "-o", template)),
                f"^(?:{one_other}){{{len(listed)}}}$",
                int(parameters.get("seconds", 600)),
            ),
        ),
        namespaces=(SYSTEM_NAMESPACE,),
        facts={"authority": old},
    )


def plan_disk_full(world: World, target: Target, parameters: Parameters) -> Plan:
    """A member's volume filled to the last block, where the volume is a file system of its own."""
    pod = target.pod
    (server, *_) = processes(world, pod, names_of(parameters, "container"), str(parameters.get("process", ".")))
    path = str(parameters.get("path", "/var/lib/postgresql/data"))
    root = f"/proc/{server.pid}/root{path}"
    device, other = world.cluster.on_node(pod.node, "stat", "-c", "%d", root, "/proc/1/root/var").split()
    if device == other:
        raise NotPossible.with_driver(
            world.driver.name,
            f"the volume of {pod.title} lies on the machine's own disk, which every server shares, and a quota is not"
            " to be had there",
        )
    fill = f"{root}/okitoki-drill-fill"
    return Plan(
        "disk-full",
        target.title,
        inject=(Step("node", ("bash", "-c", f"dd if=/dev/zero of={fill} bs=1M 2>/dev/null; sync; true"), (pod.node,)),),
        bit=(Check("nothing is free", Step("node", ("stat", "-f", "-c", "%a", root), (pod.node,)), "^[0-9]{1,2}$"),),
        undo=(Step("node", ("rm", "-f", fill), (pod.node,)),),
        healed=(Check("there is room", Step("node", ("stat", "-f", "-c", "%a", root), (pod.node,)), "^[0-9]{3,}$"),),
        namespaces=(pod.namespace,),
    )


def plan_clock(world: World, target: Target, parameters: Parameters) -> Plan:
    """A server's clock set forward or back: no driver has it (`Driver.cannot`)."""
    raise NotPossible.with_driver(world.driver.name, "it steps no clock")


def plan_nothing(world: World, target: Target, parameters: Parameters) -> Plan:
    """No fault, for as long as it is held: what moves, restarts or fails then does so by itself."""
    pods = target.pods
    namespace = pods[0].namespace
    shape = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].containerID} {end}"
    names = [pod.name for pod in pods]
    look = Step("kubectl", ("get", "pod", "-n", namespace, *names, "-o", shape if len(names) > 1 else _ONE))
    still = "".join(rf"(?=[\s\S]*{re.escape(one)})" for pod in pods for one in (pod.uid, *pod.containers))
    return Plan(
        "nothing",
        target.title,
        inject=(Step("node", ("true",), (pods[0].node,), "nothing"),),
        bit=(Check("the same pods and containers run", look, f"^{still}"),),
        undo=(Step("node", ("true",), (pods[0].node,), "nothing to undo"),),
        healed=(Check("the same pods and containers run still", look, f"^{still}"),),
        namespaces=(namespace,),
    )


def plan_sham(world: World, target: Target, parameters: Parameters) -> Plan:
    """A fault that does nothing and says that it froze a server: a control, whose drill must fail."""
    pod = target.pod
    look = Step("kubectl", ("get", "pod", "-n", pod.namespace, pod.name, "-o", "jsonpath={.metadata.uid}"))
    return Plan(
        "sham",
        target.title,
        inject=(Step("node", ("true",), (pod.node,), "nothing at all"),),
        bit=(Check(f"{pod.title} is another", look, rf"^(?!{pod.uid}$)", 3),),
        namespaces=(pod.namespace,),
    )


def plan_asynchronous(world: World, target: Target, parameters: Parameters) -> Plan:
    """A database told to acknowledge without a standby: what the platform never does; a control."""
    pod = target.pod

    def edit(mode: str, strict: str) -> Step:
        settings = ("-s", f"synchronous_mode={mode}", "-s", f"synchronous_mode_strict={strict}")
        patroni = ("patronictl", "-c", "/etc/patroni/patroni.yaml", "edit-config", "--force", "--quiet", *settings)
        return Step("kubectl", ("exec", "-n", pod.namespace, pod.name, "-c", "postgres", "--", *patroni))

    shown = Step(
        "kubectl",
        ("get", "configmap", "postgres-config", "-n", pod.namespace, "-o", "jsonpath={.metadata.annotations.config}"),
    )
    waits = Step(
        "kubectl",
        ("exec", "-n", pod.namespace, pod.name, "-c", "postgres", "--",
         "psql", "-U", "postgres", "-Atc", "select '['||current_setting('synchronous_standby_names')||']'"),
    )  # fmt: skip
    return Plan(
        "asynchronous",
        target.title,
        inject=(edit("off", "false"),),
        bit=(Check("the primary waits for nobody", waits, r"^\[\]$", 30),),
        undo=(edit("quorum", "true"),),
        healed=(Check("the settings are the platform's", shown, r'"synchronous_mode": ?"quorum"', 10),),
        namespaces=(pod.namespace,),
    )


FAULTS = (
    Fault("operators-gone", "every operator ended until it is undone", plan_operators_gone),
    Fault("planned-change", "every pod of a workload replaced in its own order", plan_roll),
    Fault("authority-replaced", "the platform's authority and every certificate replaced", plan_authority),
    Fault("disk-full", "a volume filled to the last block", plan_disk_full),
    Fault("clock-step", "a server's clock set forward or back", plan_clock),
    Fault("nothing", "no fault, for as long as it is held", plan_nothing),
    Fault("sham", "nothing, though it says otherwise (a control: its drill must fail)", plan_sham),
    Fault("asynchronous", "a database that acknowledges without a standby (a control)", plan_asynchronous),
)
