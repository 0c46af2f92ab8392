"""The cluster by its command-line tools, as the drill's container has them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from okitoki_chaos.cluster import ChaosError

COMMAND_SECONDS = 60.0
NODE_SECONDS = 300.0
REQUEST_SECONDS = 15


def run(command: Sequence[str], limit: float = COMMAND_SECONDS, stdin: str = "") -> str:
    """Run a tool; raises ChaosError with what it printed when it fails, hangs or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit, input=stdin)
    except subprocess.TimeoutExpired as error:
        raise ChaosError(f"`{' '.join(command)[:200]}` did not end within {limit:.0f} s") from error
    except FileNotFoundError as error:
        raise ChaosError(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        words = (done.stdout + done.stderr).strip()[-1000:]
        raise ChaosError(f"`{' '.join(command)[:200]}` ended with code {done.returncode}: {words}")
    return done.stdout


Run = Callable[..., str]


class ShellCluster:
    """kubectl (KUBECONFIG) and docker (DOCKER_HOST), on one named context; without a name, the pod's own cluster.

    `execute` runs a command: (words, seconds, stdin) -> its output, or ChaosError.
    """

    def __init__(self, context: str, execute: Run = run) -> None:
        self.context = context
        self._execute = execute

    @property
    def _kubectl(self) -> list[str]:
        return kubectl_of(self.context)

    def kubectl(self, *arguments: str) -> str:
        """Its output; a silent API server is an error after some seconds. Raises ChaosError."""
        given = next((one for one in arguments if one.startswith("--timeout=")), None)
        if given is not None:  # a command that waits by itself
            limit = float(given.removeprefix("--timeout=").removesuffix("s")) + COMMAND_SECONDS
            return self._execute([*self._kubectl, *arguments], limit)
        return self._execute([*self._kubectl, f"--request-timeout={REQUEST_SECONDS}s", *arguments])

    def apply(self, verb: str, manifest: Mapping[str, Any]) -> str:
        """`kubectl create`, `apply` … with a manifest."""
        command = [*self._kubectl, f"--request-timeout={REQUEST_SECONDS}s", verb, "-f", "-"]
        return self._execute(command, stdin=json.dumps(manifest))

    def docker(self, *arguments: str) -> str:
        return self._execute(["docker", *arguments])

    def on_node(self, node: str, *command: str) -> str:
        return self._execute(["docker", "exec", node, *command], NODE_SECONDS)


def kubectl_of(context: str) -> list[str]:
    """kubectl on a context; without a name it finds the cluster by itself (KUBECONFIG, or the pod's account)."""
    return ["kubectl", *(("--context", context) if context else ())]
