"""The platform as the demo sees it: installs it, finds its servers, and knows when it is whole."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from okitoki_chaos.cluster import Cluster, Pod, pods
from okitoki_chaos.whole import APP, EDGE, POSTGRES, holder_of_sip, primary
from okitoki_local.demo.layout import TenantPlan
from okitoki_local.environment import PACKAGE_ROOT, Environment
from okitoki_local.system import LocalClusterError

CHARTS = PACKAGE_ROOT.parent / "charts"
READ_ATTEMPTS = 4
READ_SECONDS = 30.0
SYSTEM_NAMESPACE = "okitoki-system"
OPERATOR_IMAGES = ("operator", "app", "postgres", "edge")


class KindCluster:
    """The local cluster, as faults want it."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    @property
    def context(self) -> str:
        return self._env.context

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl; reading is tried again, for an API server on a busy machine may be slow for a moment."""
        for _ in range(READ_ATTEMPTS - 1 if arguments[0] == "get" else 0):
            with contextlib.suppress(LocalClusterError, subprocess.TimeoutExpired):
                return self._env.kubectl(*arguments, timeout=READ_SECONDS)
            time.sleep(1)
        try:
            return self._env.kubectl(*arguments)
        except subprocess.TimeoutExpired as error:
            raise LocalClusterError(f"the API server gave no answer to kubectl {' '.join(arguments[:4])}") from error

    def on_node(self, node: str, *command: str) -> str:
        return self._env.docker("exec", node, *command)

    def docker(self, *arguments: str) -> str:
        return self._env.docker(*arguments)

    def apply(self, verb: str, manifest: Mapping[str, Any]) -> str:
        return self._env.kubectl(verb, "-f", "-", stdin=json.dumps(manifest))


def image_references(env: Environment) -> dict[str, str]:
    """Image name -> reference, as the last build left them."""
    path = env.state / "images.json"
    if not path.exists():
        raise LocalClusterError(f"{path} is not there: build the images first (`make images`)")
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    if missing := [name for name in (*OPERATOR_IMAGES, "phones") if name not in found]:
        raise LocalClusterError(f"no image {missing[0]} in {path}: build all images (`make images`)")
    return found


def install(env: Environment, images: Mapping[str, str]) -> None:
    """The CRDs and the operator, by Helm; the same command upgrades."""
    helm = ["helm", "--kube-context", env.context, "upgrade", "--install", "--wait", "--timeout", "5m"]
    # Tests may have applied the definitions by themselves; this release becomes their owner.
    definitions = ["okitoki-crds", str(CHARTS / "okitoki-crds"), "--take-ownership"]
    env.run([*helm, *definitions, "--namespace", SYSTEM_NAMESPACE, "--create-namespace"], timeout=400)
    values = [f"--set-string=images.{name}={images[name]}" for name in OPERATOR_IMAGES]
    env.run([*helm, "okitoki", str(CHARTS / "okitoki"), "--namespace", SYSTEM_NAMESPACE, *values], timeout=400)


def apply(env: Environment, objects: Sequence[Mapping[str, Any]]) -> None:
    """Server-side apply, as a user would do it with the files."""
    whole = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    env.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(whole))


def existing(env: Environment, kind: str, name: str) -> dict[str, Any] | None:
    """A resource, or None when it is not there."""
    output = env.kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
    found: dict[str, Any] | None = json.loads(output) if output.strip() else None
    return found


def api_key(env: Environment, tenant: TenantPlan) -> str:
    """The tenant's first API key."""
    secret = json.loads(env.kubectl("get", "secret", "api-admin", "-n", tenant.namespace, "-o", "json"))
    return base64.b64decode(secret["data"]["key"]).decode()


def authority(env: Environment, tenant: TenantPlan) -> str:
    """The certificate of the CA that signs the tenant's host names."""
    found = json.loads(env.kubectl("get", "configmap", "okitoki-ca", "-n", tenant.namespace, "-o", "json"))
    return str(found["data"]["ca.crt"])


def versions(env: Environment, images: Mapping[str, str]) -> dict[str, Any]:
    """What was tested."""
    version = json.loads(env.kubectl("version", "-o", "json"))
    return {"kubernetes": version["serverVersion"]["gitVersion"], "images": dict(images)}


@dataclass(frozen=True)
class Target:
    """A server to be killed: which pods do its work, and how many of them must be ready."""

    name: str
    namespace: str
    selector: str
    count: int
    find: Callable[[Cluster], Pod]

    @property
    def others(self) -> int:
        """How many others must be ready before one may die."""
        return self.count - 1


def targets(objects: Sequence[Mapping[str, Any]], tenants: Sequence[TenantPlan]) -> list[Target]:
    """What is killed, in turn: one tenant's primary, another's app server, the region's edge."""
    specs = {obj["metadata"]["name"]: obj["spec"] for obj in objects if obj["kind"] == "Tenant"}
    region = next(obj["metadata"]["name"] for obj in objects if obj["kind"] == "VoiceRegion")
    first, second = tenants[0], tenants[-1]
    edge = f"okitoki-region-{region}"
    return [
        Target(
            f"database primary of {first.name}", first.namespace, POSTGRES,
            specs[first.name]["database"]["instances"], lambda cluster: primary(cluster, first.namespace),
        ),
        Target(
            f"app server of {second.name}", second.namespace, APP, specs[second.name]["app"]["replicas"],
            lambda cluster: next(pod for pod in pods(cluster, second.namespace, APP) if pod.ready),
        ),
        Target("voice edge with the SIP address", edge, EDGE, 2, lambda cluster: holder_of_sip(cluster, edge)),
    ]  # fmt: skip


def report_folder() -> Path:
    return PACKAGE_ROOT.parent / "build" / "demo"
