"""The drill's containers: one runs the experiments, one is the watchdog that ends what goes on for too long."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from okitoki_local.demo.containers import LABEL, WORK, confined
from okitoki_local.environment import Environment
from okitoki_local.progress import say

DEFAULT_SOCKET = Path("/var/run/docker.sock")
SOCKET, KUBECONFIG = "/run/docker.sock", "/run/kubeconfig"
WATCHDOG, DRILL = "okitoki-demo-watchdog", "okitoki-demo-drill"
# The watchdog undoes everything that is open when it is asked to end; a machine may take its time.
STOP_SECONDS = 300
SHARES = 256
"""Of the processor, beside the 1024 of each node: who looks at a failover shall not slow it down. The clients, whose
own stalls count, have their full share."""


class Box:
    """Containers of the drill image on the cluster's network, with the daemon's socket and a kubeconfig."""

    def __init__(self, env: Environment, image: str, kubeconfig: Path) -> None:
        self._env = env
        self._image = image
        self._kubeconfig = kubeconfig

    def prepare(self) -> None:
        """A kubeconfig with the API server's name on the cluster's own network; only its owner reads it."""
        text = self._env.run(["kind", "get", "kubeconfig", "--internal", "--name", self._env.name], inside=False).stdout
        self._kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(text, encoding="utf-8")

    def forget(self) -> None:
        self._kubeconfig.unlink(missing_ok=True)

    @property
    def _socket(self) -> Path:
        host = self._env.docker_host or os.environ.get("DOCKER_HOST", "")
        return Path(host.removeprefix("unix://")) if host.startswith("unix://") else DEFAULT_SOCKET

    def arguments(self, name: str, folder: Path, command: tuple[str, ...]) -> list[str]:
        """`docker run` arguments; the container's user is whoever runs the drill, in the socket's group."""
        group = os.stat(self._socket).st_gid if stat.S_ISSOCK(os.stat(self._socket).st_mode) else os.getgid()
        return [
            *("--name", name, "--label", f"{LABEL}={name}", *confined(self._env, folder)),
            *("--group-add", str(group), "--tmpfs", "/tmp", "--env", "HOME=/tmp"),  # noqa: S108
            *("--env", f"KUBECONFIG={KUBECONFIG}", "--env", f"DOCKER_HOST=unix://{SOCKET}"),
            *("--volume", f"{self._socket}:{SOCKET}", "--volume", f"{self._kubeconfig}:{KUBECONFIG}:ro"),
            *(self._image, *command),
        ]

    def run(self, folder: Path, *command: str) -> int:
        """Run `okitoki_chaos COMMAND` to its end, its progress on the terminal; its exit code."""
        arguments = ["docker", "run", "--rm", "--cpu-shares", str(SHARES), *self.arguments(DRILL, folder, command)]
        return self._env.run(arguments, inside=False, check=False, capture=False).returncode

    def stop_drill(self) -> None:
        """Ask one that outlived who started it to end: it undoes what it has open."""
        self._env.docker("stop", "--time", str(STOP_SECONDS), DRILL, check=False)

    def start_watchdog(self, folder: Path) -> None:
        self._env.docker("run", "--detach", *self.arguments(WATCHDOG, folder, ("watchdog", WORK)))

    def stop_watchdog(self) -> list[str]:
        """Ask it to end; what it had to undo, in its own words."""
        self._env.docker("stop", "--time", str(STOP_SECONDS), WATCHDOG, check=False)
        words = self._env.run(["docker", "logs", WATCHDOG], inside=False, check=False)
        self._env.docker("rm", "--force", WATCHDOG, check=False)
        if words.returncode != 0:  # there is none
            return []
        lines = (words.stdout + words.stderr).strip().splitlines()
        undone = [line for line in lines if "watching" not in line]
        for line in undone:
            say(f"  watchdog: {line}")
        return undone
