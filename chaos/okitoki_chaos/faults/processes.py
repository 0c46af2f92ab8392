"""Faults of processes in a pod: killed, or frozen. A hung server is worse than a dead one: it still answers TCP."""

from __future__ import annotations

from okitoki_chaos import scripts
from okitoki_chaos.faults import base
from okitoki_chaos.faults.base import Fault, Parameters
from okitoki_chaos.steps import Check, Plan
from okitoki_chaos.world import Target, World

# Command lines of the servers that drills name.
KNOWN = {
    "postmaster": r"^/usr/lib/postgresql/[0-9]+/bin/postgres -D",
    "patroni": r"bin/patroni ",
    "app": r"callcentre",
    "kamailio": r"kamailio",
    "rtpengine": r"rtpengine",
    "keepalived": r"keepalived",
    "haproxy": r"haproxy",
    "redis": r"redis-server",
    "wireguard": r"wireguard-go",
}


def pattern_of(parameters: Parameters) -> str:
    """The regex of a known server's name, or the given one."""
    wanted = str(parameters["process"])
    return KNOWN.get(wanted, wanted)


def plan_kill(world: World, target: Target, parameters: Parameters) -> Plan:
    """SIGKILL of one server by name. A container's first process is spared while another matches: it is only the
    reaper then, and killing it would be the fault `container-kill`."""
    pod = target.pod
    found = base.processes(world, pod, base.names_of(parameters, "container"), pattern_of(parameters))
    chosen = [one for one in found if not one.first] or found
    pids = [one.pid for one in chosen]
    return Plan(
        "process-kill",
        target.title,
        inject=(base.kill(pod.node, pids, f"{parameters['process']} of {pod.title}"),),
        bit=(base.gone(pod.node, [one.mark for one in chosen]),),
        namespaces=(pod.namespace,),
        facts={"pod": pod.title, "node": pod.node, "processes": [one.command for one in chosen]},
    )


def plan_freeze(world: World, target: Target, parameters: Parameters) -> Plan:
    """SIGSTOP of everything in a pod's containers, or of the processes of one name."""
    pod = target.pod
    names = base.names_of(parameters, "container")
    pattern = pattern_of(parameters) if "process" in parameters else "."
    found = base.processes(world, pod, names, pattern)
    match = (pattern, *base.containers(pod, names))
    what = f"{parameters.get('process', 'every process')} of {pod.title}"
    states = scripts.script(pod.node, "states", scripts.STATES, *match)
    return Plan(
        "freeze",
        target.title,
        inject=(scripts.script(pod.node, "signal", scripts.SIGNAL, "STOP", *match, words=f"SIGSTOP to {what}"),),
        # That something was stopped is shown by the signal's own step; a guard may have ended it since.
        bit=(Check(f"{what} is stopped, or was ended since", states, "^(T+|none)$"),),
        undo=(scripts.script(pod.node, "signal", scripts.SIGNAL, "CONT", *match, words=f"SIGCONT to {what}"),),
        # What was restarted meanwhile is another container, and not frozen.
        healed=(Check(f"nothing of {what} is stopped", states, "^[^T]+$"),),
        namespaces=(pod.namespace,),
        facts={"pod": pod.title, "node": pod.node, "processes": len(found)},
    )


FAULTS = (
    Fault("process-kill", "SIGKILL of a server's process by name", plan_kill),
    Fault("freeze", "SIGSTOP of a pod's processes, all or those of one name", plan_freeze),
)
