"""What a fault needs of a cluster, and the guard against the wrong one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class ChaosError(Exception):
    """A fault that was refused, did not bite, or did not heal; one sentence for a person."""


class Cluster(Protocol):
    """kubectl on a fixed context, commands on the nodes, and the Docker daemon that runs them where there is one."""

    @property
    def context(self) -> str: ...

    def kubectl(self, *arguments: str) -> str: ...

    def on_node(self, node: str, *command: str) -> str: ...

    def docker(self, *arguments: str) -> str: ...

    def apply(self, verb: str, manifest: Mapping[str, Any]) -> str: ...


@dataclass(frozen=True)
class Pod:
    """What faults and recoveries look at. `containers` are the ids of those that run, `container_names` their names."""

    namespace: str
    name: str
    uid: str
    node: str
    ready: bool
    deleting: bool
    containers: tuple[str, ...] = ()
    container_names: tuple[str, ...] = ()
    address: str = ""
    host_network: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Pod:
        """From the API's JSON."""
        metadata, status = obj["metadata"], obj.get("status", {})
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        running = [
            one
            for one in status.get("containerStatuses", [])
            if one.get("containerID") and "running" in one.get("state", {})
        ]
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            node=obj["spec"].get("nodeName", ""),
            ready=conditions.get("Ready") == "True",
            deleting="deletionTimestamp" in metadata,
            containers=tuple(one["containerID"].partition("://")[2] for one in running),
            container_names=tuple(one.get("name", "") for one in running),
            address=status.get("podIP", ""),
            host_network=obj["spec"].get("hostNetwork") is True,
            labels=metadata.get("labels", {}),
            annotations=metadata.get("annotations", {}),
        )

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def stands(self) -> bool:
        """Ready, and not about to go."""
        return self.ready and not self.deleting


def pods(cluster: Cluster, namespace: str, selector: str) -> list[Pod]:
    """Pods by label selector, in order of name."""
    listed = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-l", selector, "-o", "json"))
    return sorted((Pod.of(item) for item in listed["items"]), key=lambda pod: pod.name)


def require_local(cluster: Cluster, name: str) -> None:
    """Refuse any cluster but the kind cluster of this name: faults kill servers, and must kill the right ones."""
    if cluster.context != f"kind-{name}":
        raise ChaosError(f"refusing: the kube context is {cluster.context!r}, not 'kind-{name}'")
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    wanted = f"kind://docker/{name}/"
    for node in nodes:
        provider = node["spec"].get("providerID", "")
        if not provider.startswith(wanted):
            raise ChaosError(
                f"refusing: node {node['metadata']['name']} is {provider or 'of no provider'}, not {wanted}…"
            )
    if not nodes:
        raise ChaosError("refusing: the cluster has no nodes")
