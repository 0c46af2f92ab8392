"""Containers beside the cluster, on its network and with addresses of their own: what is outside it in real life."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from okitoki_local.environment import Environment
from okitoki_local.system import LocalClusterError, wait_until

LABEL = "net.oki-toki.demo"
WORK = "/work"
STOP_SECONDS = 90


def confined(env: Environment, folder: Path, address: str = "") -> list[str]:
    """`docker run` flags of a container that may only talk, and has one folder, mounted at /work.

    It runs as whoever runs this, so that the results are theirs.
    """
    return [
        *("--network", env.docker_network, *(("--ip", address) if address else ())),
        *("--cap-drop", "ALL", "--read-only", "--volume", f"{folder}:{WORK}"),
        *("--user", f"{os.getuid()}:{os.getgid()}"),
    ]


class Containers:
    """The demo's containers. Each has one folder of the run, mounted at /work, for what it reads and writes."""

    def __init__(self, env: Environment, image: str) -> None:
        self._env = env
        self._image = image

    def remove_all(self, grace_seconds: int = 0) -> list[str]:
        """Remove whatever there is, after a chance to write down what it knows."""
        found = self._env.docker("ps", "--all", "--filter", f"label={LABEL}", "--format", "{{.Names}}").split()
        if found and grace_seconds:
            self._env.docker("stop", "--time", str(grace_seconds), *found)
        if found:
            self._env.docker("rm", "--force", *found)
        return found

    def _arguments(self, name: str, address: str, folder: Path, command: Sequence[str]) -> list[str]:
        return [
            *("--name", f"okitoki-demo-{name}", "--label", f"{LABEL}={name}"),
            *confined(self._env, folder, address),
            *(self._image, "python", "-m", *command),
        ]

    def start(self, name: str, address: str, folder: Path, *command: str) -> None:
        """Start a module that runs until it is stopped."""
        self._env.docker("run", "--detach", *self._arguments(name, address, folder, command))

    def run(self, name: str, address: str, folder: Path, *command: str) -> tuple[int, str]:
        """Run a module to its end; exit code and everything it said."""
        arguments = ["docker", "run", "--rm", *self._arguments(name, address, folder, command)]
        done = self._env.run(arguments, inside=False, check=False, timeout=300)
        return done.returncode, (done.stdout + done.stderr).strip()

    def running(self, name: str) -> bool:
        return self._state(name).get("Running") is True

    def _state(self, name: str) -> dict[str, Any]:
        output = self._env.docker("inspect", "--format", "{{json .State}}", f"okitoki-demo-{name}", check=False)
        found: dict[str, Any] = json.loads(output) if output.strip() else {}
        return found

    def require_running(self, *names: str) -> None:
        """A phone or a writer that died would make the verdict worthless."""
        for name in names:
            if not self.running(name):
                raise LocalClusterError(f"the container {name} has ended:\n{self.logs(name)}")

    def wait_file(self, name: str, path: Path, limit: float) -> None:
        """Wait until the container has written a file."""
        try:
            wait_until(f"{name}", lambda: path.exists() or not self.running(name), limit)
        except LocalClusterError as error:
            raise LocalClusterError(f"{name} was not ready within {limit:.0f} s:\n{self.logs(name)}") from error
        if not path.exists():
            self.require_running(name)

    def logs(self, name: str) -> str:
        done = self._env.run(
            ["docker", "logs", "--tail", "30", f"okitoki-demo-{name}"], inside=False, check=False, timeout=60
        )
        return (done.stdout + done.stderr).strip()

    def stop(self, name: str) -> float:
        """Ask it to end, wait until it has; returns the seconds. A container that had to be killed is an error."""
        begun = time.monotonic()
        self._env.docker("stop", "--time", str(STOP_SECONDS), f"okitoki-demo-{name}")
        code = self._state(name).get("ExitCode")
        if code != 0:
            raise LocalClusterError(f"the container {name} ended with code {code}:\n{self.logs(name)}")
        return time.monotonic() - begun
