"""Where the cluster is and how to reach it: the facts that every other module asks for.

There are two kinds of machine. On a **laptop** a Docker daemon answers and kind is installed: everything is stock. On
a **private** one there is neither a daemon nor a container registry: the cluster has a daemon of its own in a network
namespace of its own, and everything that runs in it was built here.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from okitoki_local import gobuild, system

PRIVATE_ROOT = Path("/var/lib/okitoki")
DEFAULT_NAME = "okitoki"
VALID_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?")
PACKAGE_ROOT = Path(__file__).resolve().parent.parent


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Builds outlive checkouts, so they are kept outside of them."""
    if chosen := environ.get("OKITOKI_CACHE"):
        return Path(chosen)
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "okitoki"


def user_daemon_answers(environ: Mapping[str, str]) -> bool:
    """Whether a Docker daemon that is not one of ours answers the user."""
    if environ.get("DOCKER_HOST", "").startswith(f"unix://{PRIVATE_ROOT}/"):
        return False
    if shutil.which("docker") is None:
        return False
    done = subprocess.run(["docker", "info"], env=dict(environ), capture_output=True, check=False, timeout=30)
    return done.returncode == 0


@dataclass(frozen=True)
class Environment:
    """One cluster on this machine; it need not exist yet."""

    name: str
    private: bool
    state: Path
    cache: Path

    @classmethod
    def detect(cls, name: str | None = None, environ: Mapping[str, str] = os.environ) -> Environment:
        """The environment of the cluster `name` (or of OKITOKI_CLUSTER)."""
        chosen = name or environ.get("OKITOKI_CLUSTER") or DEFAULT_NAME
        if not VALID_NAME.fullmatch(chosen):
            raise system.LocalClusterError(
                f"OKITOKI_CLUSTER={chosen!r}: use up to 20 lower-case letters, digits and dashes"
            )
        cache = cache_folder(environ)
        if (PRIVATE_ROOT / chosen).is_dir():
            return cls(chosen, True, PRIVATE_ROOT / chosen, cache)
        # kind asks about a running daemon only when it is there to use it.
        if shutil.which("kind", path=environ.get("PATH")) is not None and user_daemon_answers(environ):
            home_state = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
            return cls(chosen, False, home_state / "okitoki" / chosen, cache)
        return cls(chosen, True, PRIVATE_ROOT / chosen, cache)

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def context(self) -> str:
        """The name that kind gives its kube context; tests refuse any other."""
        return f"kind-{self.name}"

    @property
    def docker_network(self) -> str:
        return f"okitoki-{self.name}"

    @property
    def netns(self) -> str | None:
        """The network namespace that the cluster's addresses exist in; none on a laptop."""
        return f"okitoki-{self.name}" if self.private else None

    @property
    def docker_host(self) -> str | None:
        """The private daemon's socket; on a laptop whatever the user's Docker CLI uses."""
        return f"unix://{self.state / 'docker.sock'}" if self.private else None

    @property
    def tools(self) -> Path:
        """Folder with the built kubectl, helm, kind, crictl, etcd, kube-apiserver."""
        return gobuild.tools_folder(self.cache)

    @property
    def lock(self) -> Path:
        """Beside the state, not in it: `down` removes the state while it holds the lock."""
        return self.state.with_name(f"{self.name}.lock")

    def variables(self) -> dict[str, str]:
        """What a shell or a program needs in its environment to work with this cluster."""
        facts = {
            "OKITOKI_CLUSTER": self.name,
            "OKITOKI_NETNS": self.netns or "",
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": self._search_path(os.environ.get("PATH", os.defpath).split(os.pathsep)),
        }
        if self.docker_host is not None:
            # The private daemon is Debian's, which has no BuildKit.
            facts |= {"DOCKER_HOST": self.docker_host, "DOCKER_BUILDKIT": "0"}
        return facts

    def _search_path(self, others: list[str]) -> str:
        """Our tools before others' on a private machine; on a laptop only where the user has none of his own."""
        tools, wrappers = str(self.tools), str(PACKAGE_ROOT / "bin")
        rest = [entry for entry in others if entry not in (tools, wrappers)]
        return os.pathsep.join([tools, wrappers, *rest] if self.private else [wrappers, *rest, tools])

    def exports(self) -> str:
        """The same as shell commands, for `eval`."""
        return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in self.variables().items())

    def inside(self, command: Sequence[str | Path]) -> list[str]:
        """The command as it must be called to see the cluster's addresses."""
        arguments = [str(argument) for argument in command]
        # Not `ip netns exec`: it remounts /sys and hides the cgroups.
        return arguments if self.netns is None else ["nsenter", f"--net=/run/netns/{self.netns}", "--", *arguments]

    def run(
        self,
        command: Sequence[str | Path],
        *,
        inside: bool = True,
        check: bool = True,
        stdin: str | None = None,
        timeout: float | None = None,
        capture: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program with the cluster's variables, in the cluster's network unless told otherwise."""
        return system.run(
            self.inside(command) if inside else command,
            check=check,
            stdin=stdin,
            timeout=timeout,
            capture=capture,
            env={**self.variables(), **(env or {})},
            cwd=cwd,
        )

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl on this cluster and return what it prints."""
        command = ["kubectl", "--context", self.context, *arguments]
        return self.run(command, check=check, stdin=stdin, timeout=timeout).stdout

    def docker(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """Run the Docker CLI against this cluster's daemon. It uses a socket, so it needs no namespace."""
        return self.run(["docker", *arguments], inside=False, check=check, stdin=stdin).stdout

    def nodes(self) -> list[str]:
        """Names of the cluster's node containers, running or not."""
        label = f"label=io.x-k8s.kind.cluster={self.name}"
        return sorted(self.docker("ps", "--all", "--filter", label, "--format", "{{.Names}}").split())

    def workers(self) -> list[str]:
        """Names of the nodes that run the platform's pods."""
        label = "label=io.x-k8s.kind.role=worker"
        mine = self.docker(
            "ps", "--all", "--filter", label, "--filter", f"label=io.x-k8s.kind.cluster={self.name}",
            "--format", "{{.Names}}",
        )  # fmt: skip
        return sorted(mine.split())

    def describe(self) -> str:
        """One line of JSON for logs and bug reports."""
        return json.dumps({"name": self.name, "private": self.private, "state": str(self.state)})
