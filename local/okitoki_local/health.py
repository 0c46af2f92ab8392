"""What is left of a cluster, and what to do about it: facts, and a pure decision over them.

The files of a cluster may be there while none of its processes are (a reboot, an ended shell). A restarted kind node
gets its old address only by luck, so a cluster that lost a node is made anew (half a minute) rather than revived.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum

from okitoki_local import daemon, kindconfig
from okitoki_local.environment import Environment

NODE_COUNT = 1 + len(kindconfig.REGION_OF_ZONE)


class Action(Enum):
    """What `up` has to do."""

    REUSE = "reuse the cluster"
    UNPAUSE = "wake the paused nodes and reuse the cluster"
    SETTLE = "wait for the cluster to settle"
    REMAKE_CLUSTER = "remake the cluster"
    REMAKE_DAEMON = "remake the daemon and the cluster"
    CREATE = "make the cluster"


@dataclass(frozen=True)
class Facts:
    """What can be seen of a cluster."""

    state_exists: bool
    daemon_runs: bool
    daemon_answers: bool
    node_states: tuple[str, ...] = ()
    """What Docker says of each node: running, paused, exited, created."""
    built_as: str | None = None
    """The key of the configuration that the finished cluster was made from; None when it was never finished."""
    wanted: str = ""
    nodes_ready: int = 0


@dataclass(frozen=True)
class Decision:
    action: Action
    reason: str


def decide(facts: Facts) -> Decision:
    """The least work that leads to a healthy cluster."""
    if not facts.daemon_answers:
        return _without_daemon(facts)
    if not facts.node_states:
        return Decision(Action.CREATE, "the daemon runs and has no nodes")
    if facts.built_as is None:
        return Decision(Action.REMAKE_CLUSTER, "an earlier run did not finish making it")
    if facts.built_as != facts.wanted:
        return Decision(Action.REMAKE_CLUSTER, "its versions or its configuration have changed since")
    return _with_nodes(facts)


def _without_daemon(facts: Facts) -> Decision:
    if facts.daemon_runs:
        return Decision(Action.REMAKE_DAEMON, "its daemon runs but does not answer")
    if facts.state_exists:
        return Decision(Action.REMAKE_DAEMON, "its files are there but its daemon is not running")
    return Decision(Action.CREATE, "there is none")


def _with_nodes(facts: Facts) -> Decision:
    states = facts.node_states
    if len(states) != NODE_COUNT:
        return Decision(Action.REMAKE_CLUSTER, f"it has {len(states)} of {NODE_COUNT} nodes")
    if dead := [state for state in states if state not in ("running", "paused")]:
        return Decision(Action.REMAKE_CLUSTER, f"{len(dead)} of its nodes ended ({', '.join(sorted(set(dead)))})")
    if "paused" in states:
        return Decision(Action.UNPAUSE, f"{states.count('paused')} of its nodes are paused")
    if facts.nodes_ready != NODE_COUNT:
        return Decision(Action.SETTLE, f"{facts.nodes_ready} of {NODE_COUNT} nodes are Ready")
    return Decision(Action.REUSE, "all of its nodes are Ready")


def observe(env: Environment, wanted: str) -> Facts:
    """Look at the daemon, its node containers and, if they run, at what Kubernetes says of them."""
    runs = daemon.pid(env) is not None if env.private else True
    # A socket whose daemon is gone is not worth a time-out; a busy machine's daemon deserves patience.
    answers = runs and (daemon.answers_at_last(env) if env.private else True)
    if not answers:
        return Facts(env.state.exists(), runs, False, wanted=wanted)
    states = node_states(env)
    ready = ready_nodes(env) if states and set(states) == {"running"} else 0
    return Facts(True, runs, True, states, built_as(env), wanted, ready)


def node_states(env: Environment) -> tuple[str, ...]:
    label = f"label=io.x-k8s.kind.cluster={env.name}"
    return tuple(sorted(env.docker("ps", "--all", "--filter", label, "--format", "{{.State}}").split()))


def ready_nodes(env: Environment) -> int:
    """How many nodes are Ready; none when the API server does not answer."""
    if not env.kubeconfig.exists():
        return 0
    columns = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    return env.kubectl("get", "nodes", "--request-timeout=10s", "-o", f"jsonpath={columns}", check=False).count("True")


def built_as(env: Environment) -> str | None:
    try:
        key = json.loads((env.state / "cluster.json").read_text())["key"]
    except (OSError, ValueError, KeyError):
        return None
    return str(key)


def record(env: Environment, key: str) -> None:
    """Note that the cluster is finished, and what it was made from."""
    (env.state / "cluster.json").write_text(json.dumps({"key": key}))
