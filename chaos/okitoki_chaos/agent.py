"""The driver for clusters that are not kind: a privileged pod on each node that opted in, reached by `kubectl exec`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from okitoki_chaos import scripts
from okitoki_chaos.cluster import ChaosError, pods
from okitoki_chaos.driver import Deed, Link, NotPossible
from okitoki_chaos.shell import NODE_SECONDS, Run, ShellCluster, run
from okitoki_chaos.steps import Check, Plan, Step
from okitoki_chaos.world import SYSTEM_NAMESPACE

AGENT, CONTAINER = "app.kubernetes.io/name=chaos-agent", "agent"
WATCHDOG = "app.kubernetes.io/name=drill-watchdog"
NODE_LABEL = "platform.oki-toki.net/chaos=allowed"
KUBELET_PORT = 10250
# Longer than any cut is held; after it the kernel forgets the cut, should nobody else have undone it.
CUT_SECONDS = 900
DOWN_SECONDS, UP_SECONDS = 180.0, 900.0
REBOOT = r"""
if [ -e /proc/1/root/run/systemd/container ]; then
  echo "this node is a container: its reboot would be the machine's" >&2; exit 1
fi
setsid bash -c 'sleep 1; echo b > /proc/sysrq-trigger' > /dev/null 2>&1 < /dev/null &
echo rebooting
"""


class AgentCluster(ShellCluster):
    """A node is reached through the agent's pod on it, which has the node's pids and network for its own."""

    def __init__(self, context: str, namespace: str, execute: Run = run) -> None:
        super().__init__(context, execute)
        self.namespace = namespace
        self._names: dict[str, str] = {}

    def agent(self, node: str) -> str:
        """The agent's pod on a node. Raises NotPossible where nobody wants one, ChaosError while it is not ready."""
        found = [pod for pod in pods(self, self.namespace, AGENT) if pod.node == node]
        if not found:
            raise NotPossible.with_driver(AgentDriver.name, f"{node} has no agent: label the node {NODE_LABEL}")
        for pod in found:
            if pod.stands:
                return pod.name
        raise ChaosError(f"the agent on {node} is not ready")

    def watchdogs(self) -> set[str]:
        """The nodes that a ready watchdog runs on."""
        return {pod.node for pod in pods(self, self.namespace, WATCHDOG) if pod.stands}

    def on_node(self, node: str, *command: str) -> str:
        """Raises what `agent` does, and ChaosError. Pods' names are remembered: one request less."""
        if node not in self._names:
            self._names[node] = self.agent(node)
        where = ("exec", "-n", self.namespace, self._names[node], "-c", CONTAINER, "--")
        try:
            return self._execute([*self._kubectl, *where, *command], NODE_SECONDS)
        except ChaosError:
            self._names.pop(node)  # it may have been another pod's turn meanwhile
            raise

    def docker(self, *arguments: str) -> str:
        raise ChaosError("no daemon runs these nodes")


class AgentDriver:
    """Everything passes the API server, the node's kubelet and its agent; what would close that way is not possible.

    `own_node`: where the drill itself runs. `allow`: rights that the release gave beyond the least (`drain`,
    `volumes`, `operators`, `exec`; charts/okitoki-drills).
    """

    name = "agent"
    cannot: Mapping[str, str] = {
        "node-pause": "who thaws a machine must be outside of it, and the way in (kubelet, container runtime) would be"
        " frozen with it",
        "clock-step": "a node's clock is that of everybody on it, and its time service sets it back at once",
        "authority-replaced": "no drill is given a right over the platform's authority",
    }
    spared_ports: Mapping[str, Sequence[str]] = {
        "in": (f"tcp dport {KUBELET_PORT}",),
        "out": (f"tcp sport {KUBELET_PORT}",),
    }

    def __init__(self, cluster: AgentCluster, own_node: str = "", allow: Collection[str] = ()) -> None:
        self.cluster = cluster
        self._own_node = own_node
        self._allow = allow

    def run(self, step: Step) -> str:
        """Its output. Raises ChaosError."""
        if step.tool == "kubectl":
            return self.cluster.kubectl(*step.arguments)
        if step.tool == "node":
            return self.cluster.on_node(step.where[0], *step.arguments)
        raise ChaosError(f"the driver {self.name} has no verbs for machines: {step}")

    def pause(self, nodes: Sequence[str]) -> Deed:
        raise self._not_possible(self.cannot["node-pause"])

    def power_off(self, nodes: Sequence[str], *, returns: bool = True) -> Deed:
        """The machine's power lost and back: its kernel starts it anew without a word to anybody (sysrq `b`)."""
        if not returns:
            raise self._not_possible("a machine that was switched off stays off, and nobody here could start it")
        boots = {node: self._boot(node) for node in nodes}
        return Deed(
            inject=tuple(
                scripts.script(node, "reboot", REBOOT, words=f"power off and on at {node} (sysrq b)") for node in nodes
            ),
            bit=tuple(
                Check(f"{node} is down or has started anew", _state(node), rf"^(?!{boots[node]} True$)", DOWN_SECONDS)
                for node in nodes
            ),
            undo=(),  # it starts by itself
            healed=tuple(
                Check(
                    f"{node} has started anew and is Ready", _state(node), rf"^(?!{boots[node]})\S+ True$", UP_SECONDS
                )
                for node in nodes
            ),
            facts={"boots": boots},
        )

    def _boot(self, node: str) -> str:
        look = "test -e /proc/1/root/run/systemd/container && echo container || echo machine"
        if self.cluster.on_node(node, "bash", "-c", look).strip() != "machine":
            raise self._not_possible(f"{node} is a container, and its reboot would be that of the machine under it")
        return self.run(_state(node)).split()[0]

    def link(self, node: str) -> Link:
        """A cut leaves the kubelet's port and ARP for the node's own address: it is undone by that way."""
        path = "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}"
        address, *_ = self.cluster.kubectl("get", "node", node, "-o", path).split() or [""]
        if not address or ":" in address:
            raise self._not_possible(f"{node} has no IPv4 address, and the way back in could not be kept open")
        found = self.cluster.on_node(node, "ip", "-o", "-4", "address", "show", "to", address).split()
        if len(found) < 2:
            raise self._not_possible(f"{node} has no device with its own address {address}")
        return Link(
            found[1].partition("@")[0],
            spared={
                "in": (f"arp daddr ip {address}", f"ip daddr {address} tcp dport {KUBELET_PORT}"),
                "out": (f"arp saddr ip {address}", f"ip saddr {address} tcp sport {KUBELET_PORT}"),
            },
            seconds=CUT_SECONDS,
        )

    def require(self, plan: Plan) -> None:
        """Agents where they are needed, a watchdog that the fault does not reach, and the rights for it."""
        for right in filter(None, map(right_of, plan.steps)):
            if right not in self._allow:
                raise self._not_possible(f"the release does not give the right to it (allow.{right})")
        needed = {step.where[0] for step in plan.steps if step.tool == "node"} | set(plan.nodes)
        for node in sorted(needed):
            self.cluster.agent(node)
        if self._own_node in plan.nodes:
            raise self._not_possible(f"the drill itself runs on {self._own_node}")
        watching = self.cluster.watchdogs()
        if not watching:
            raise ChaosError("no watchdog is ready, and without one no fault has a time limit")
        if not watching - set(plan.nodes):
            raise self._not_possible(f"the only watchdog runs on {', '.join(sorted(watching))}")

    def _not_possible(self, why: str) -> NotPossible:
        return NotPossible.with_driver(self.name, why)


def _state(node: str) -> Step:
    """`BOOT True` while the node is Ready."""
    path = "jsonpath={.status.nodeInfo.bootID} {.status.conditions[?(@.type=='Ready')].status}"
    return Step("kubectl", ("get", "node", node, "-o", path))


def right_of(step: Step) -> str | None:
    """The right beyond the least that a step needs: a value under `allow` of the chart. Pure."""
    verb, *rest = step.arguments
    if step.tool != "kubectl" or verb == "get":
        return None
    if verb in {"drain", "cordon", "uncordon"}:
        return "drain"
    if SYSTEM_NAMESPACE in rest:
        return "operators"
    if verb == "exec":
        return "exec"
    return "volumes" if rest[:1] == ["pvc"] else None
