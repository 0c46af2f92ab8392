"""A platform in memory: one tenant, one region, an operator, on a kind cluster of two nodes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from okitoki_chaos.agent import AgentCluster, AgentDriver
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import KindDriver
from okitoki_chaos.world import World

Objects = list[dict[str, Any]]
TENANT = {"kind": "Tenant", "metadata": {"name": "acme"}, "spec": {"database": {"instances": 3}}}
REGION: dict[str, Any] = {
    "kind": "VoiceRegion",
    "metadata": {"name": "kyiv"},
    "spec": {"media": {"portRange": {"from": 30000, "to": 30999}}},
}
ADDRESS = "198.18.1.6"
HOLDS = {"edge-0": ["sip", "https", "media-1"], "edge-1": ["media-2"]}


def pod(namespace: str, name: str, app: str, container: str, node: str, **more: Any) -> dict[str, Any]:
    """A pod as the API has it."""
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "labels": {"app.kubernetes.io/name": app}}
    metadata["labels"] |= more.get("labels", {})
    metadata["annotations"] = more.get("annotations", {})
    return {
        "metadata": metadata,
        "spec": {"nodeName": node},
        "status": {
            "podIP": more.get("address", f"198.19.0.{sum(map(ord, name)) % 250}"),
            "conditions": [{"type": "Ready", "status": str(more.get("ready", True))}],
            "containerStatuses": [{"name": container, "containerID": f"containerd://{name}", "state": {"running": {}}}],
        },
    }


def edge(name: str, node: str) -> dict[str, Any]:
    status = json.dumps({"holds": HOLDS[name], "protected": True})
    labels = {"platform.oki-toki.net/holds-sip": str("sip" in HOLDS[name]).lower()}
    return pod(
        "okitoki-region-kyiv", name, "edge", "guard", node, labels=labels,
        annotations={"platform.oki-toki.net/edge-status": status},
    )  # fmt: skip


class Platform:
    """Answers kubectl, docker and the nodes; `answer` overrides by the words of a command, and `log` has them all."""

    def __init__(self) -> None:
        self.context = "kind-okitoki"
        self.log: list[str] = []
        self.answers: list[tuple[str, str | Callable[[], str]]] = []
        self.states = {"node-a": "running", "node-b": "running", "okitoki-control-plane": "running"}
        self.leader = "postgres-0"
        self.sync = {"leader": "postgres-0", "sync_standby": "postgres-1,postgres-2"}
        self.consent = True
        self.lease: dict[str, Any] | None = None
        self.journal: dict[str, str] = {}
        self.pods = [
            *(pod("tenant-acme", f"postgres-{n}", "postgres", "postgres", f"node-{'aba'[n]}") for n in range(3)),
            *(pod("tenant-acme", f"app-{n}", "app", "app", f"node-{'ab'[n]}") for n in range(2)),
            *(edge(f"edge-{n}", f"node-{'ab'[n]}") for n in range(2)),
            *(pod("okitoki-system", f"operator-{n}", "operator", "operator", f"node-{'ab'[n]}") for n in range(2)),
        ]

    def answer(self, words: str, text: str | Callable[[], str]) -> None:
        """From now on a command that contains these words is answered so; an answer beginning with `!` is an error."""
        self.answers.insert(0, (words, text))

    def _overridden(self, line: str) -> str | None:
        self.log.append(line)
        for words, text in self.answers:
            if words in line:
                output = text() if callable(text) else text
                if output.startswith("!"):
                    raise ChaosError(output[1:])
                return output
        return None

    def kubectl(self, *arguments: str) -> str:
        given = self._overridden("kubectl " + " ".join(arguments))
        if given is not None:
            return given
        if arguments[:3] == ("patch", "configmap", "okitoki-drill-journal"):
            self._patch_journal(json.loads(arguments[-1]))
        if arguments[:2] == ("delete", "lease"):
            self.lease = None
        if arguments[0] != "get":
            return ""
        return self._get(arguments[1], arguments)

    def _patch_journal(self, patch: Any) -> None:
        """A merge patch, or a JSON patch of `remove` and `add`, whole or not at all."""
        data = dict(self.journal)
        if isinstance(patch, dict):
            data |= patch["data"]
        else:
            remove, add = patch
            if data.pop(remove["path"].removeprefix("/data/"), None) is None:
                raise ChaosError("the server rejected our request: Unable to remove nonexistent key")
            data[add["path"].removeprefix("/data/")] = add["value"]
        self.journal = {key: value for key, value in data.items() if value is not None}

    def opt_in(self, *nodes: str, watchdog: str = "node-w") -> None:
        """Agents of drills on these nodes, and the watchdog on another one."""
        for node in nodes:
            self.pods.append(pod("okitoki-drills", f"agent-{node}", "chaos-agent", "agent", node))
        self.pods.append(pod("okitoki-drills", "watchdog", "drill-watchdog", "watchdog", watchdog))

    def execute(self, words: Sequence[str], limit: float = 60.0, stdin: str = "") -> str:
        """What a pod of the cluster runs: kubectl, and by `kubectl exec` into an agent what is done on its node."""
        assert words[0] == "kubectl"
        given = [one for one in words[1:] if not one.startswith("--request-timeout")]
        if given[0] == "create":
            return self.apply("create", json.loads(stdin))
        if given[0] != "exec" or "agent" not in given[:6]:
            return self.kubectl(*given)
        namespace, name, command = given[2], given[3], given[given.index("--") + 1 :]
        (agent,) = [item for item in self.pods if item["metadata"]["name"] == name]
        assert agent["metadata"]["namespace"] == namespace
        return self.on_node(agent["spec"]["nodeName"], *command)

    def _get(self, what: str, arguments: tuple[str, ...]) -> str:
        labels = {"platform.oki-toki.net/chaos": "allowed"} if self.consent else {}
        if what == "pods":
            return json.dumps({"items": self._pods(arguments)})
        if what == "nodes":
            names = [name for name in self.states if "-l" not in arguments or "control" in name]
            return json.dumps({"items": [{"metadata": {"name": name}} for name in names]})
        if what == "namespaces":
            names = sorted({item["metadata"]["namespace"] for item in self.pods})
            return json.dumps({"items": [{"metadata": {"name": name, "labels": labels}} for name in names]})
        if what == "configmaps":
            notes = {"postgres-leader": {"leader": self.leader}, "postgres-sync": self.sync}
            made = [
                {"metadata": {"namespace": "tenant-acme", "name": name, "annotations": note}}
                for name, note in notes.items()
            ]
            return json.dumps({"items": made})
        if what == "configmap" and arguments[2] == "okitoki-drill-journal":
            return json.dumps({"data": self.journal} if self.journal else {})
        if what == "configmap":
            annotations = {"leader": self.leader} if arguments[2] == "postgres-leader" else self.sync
            return json.dumps({"metadata": {"annotations": annotations}})
        if what == "lease" and arguments[2] == "okitoki-operator":
            return json.dumps({"spec": {"holderIdentity": "operator-1_x"}})
        if what == "lease":
            return json.dumps(self.lease) if self.lease else ""
        if "tenants" in what:
            return json.dumps({"items": [TENANT, REGION]})
        return "{}"

    def _pods(self, arguments: tuple[str, ...]) -> Objects:
        found = self.pods
        if "-n" in arguments:
            namespace = arguments[arguments.index("-n") + 1]
            found = [item for item in found if item["metadata"]["namespace"] == namespace]
        selector = arguments[arguments.index("-l") + 1] if "-l" in arguments else ""
        name, _, value = selector.partition("=")
        if name == "app.kubernetes.io/name":
            found = [item for item in found if item["metadata"]["labels"][name] == value]
        return found

    def on_node(self, node: str, *command: str) -> str:
        given = self._overridden(f"{node}: " + " ".join(command))
        if self.states.get(node) != "running":
            raise ChaosError(f"{node} is {self.states.get(node)}")
        if given is not None:
            return given
        if "list" in command:
            return "4242 5000 1 server\n"
        return ""

    def docker(self, *arguments: str) -> str:
        given = self._overridden("docker " + " ".join(arguments))
        if given is not None:
            return given
        verb, names = arguments[0], [one for one in arguments[1:] if one in self.states]
        if verb == "inspect" and "Networks" in arguments[2]:
            return json.dumps({"okitoki-okitoki": {"IPAddress": ADDRESS}})
        if verb == "inspect":
            return "".join(f"{self.states[name]}\n" for name in names)
        becomes = {"pause": "paused", "unpause": "running", "kill": "exited", "start": "running"}
        for name in names if verb in becomes else ():
            if verb == "unpause" and self.states[name] != "paused":
                raise ChaosError(f"{name} is not paused")
            self.states[name] = becomes[verb]
        return ""

    def apply(self, verb: str, manifest: Mapping[str, Any]) -> str:
        self._overridden(f"{verb} {manifest['kind']}")
        if manifest["kind"] != "Lease":
            return ""
        if self.lease is not None:
            raise ChaosError("already exists")
        self.lease = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "1"}}
        return ""


def world_of(platform: Platform, seed: int = 1) -> World:
    return World(KindDriver(platform), [TENANT, REGION], random.Random(seed))


def opted_in() -> Platform:
    """A platform whose nodes have agents and answer what the driver asks them."""
    found = Platform()
    found.opt_in("node-a", "node-b")
    found.answer("InternalIP", ADDRESS)
    found.answer("ip -o -4 address", f"2: ens5    inet {ADDRESS}/24 brd 198.18.1.255 scope global ens5\\n")
    found.answer("run/systemd/container", "machine\n")
    found.answer("bootID", "b-1 True")
    found.answer(" list ", "101 5000 1 /usr/bin/python3 /usr/bin/patroni /etc/x\n")
    return found


def world_of_every_experiment(platform: Platform, allow: Sequence[str] = ()) -> World:
    """One with what any experiment asks for: all containers in every pod, a carrier, Services, volumes of their own."""
    for words, text in (
        ("get service", "10.96.0.1"), ("get services", '{"items": []}'),
        ("get deployment okitoki", '{"spec": {"replicas": 2}}'), ("stat -c %d", "66\n67\n"),
    ):  # fmt: skip
        platform.answer(words, text)
    for item in platform.pods:
        (status,) = item["status"]["containerStatuses"]
        others = ("agent", "guard", "haproxy", "kamailio", "keepalived", "postgres", "redis", "rtpengine-1", "tunnel")
        item["status"]["containerStatuses"] = [
            {**status, "name": name, "containerID": f"containerd://{name}"} for name in {status["name"], *others}
        ]
    region = {**REGION, "spec": {**REGION["spec"], "carriers": [{"hosts": ["198.18.16.150"]}]}}
    return World(agent_driver(platform, allow=allow), [TENANT, region])


def agent_driver(platform: Platform, *, own_node: str = "", allow: Sequence[str] = ()) -> AgentDriver:
    """The driver of clusters that are not kind, with this platform behind its `kubectl exec`."""
    return AgentDriver(AgentCluster("", "okitoki-drills", platform.execute), own_node, allow)
