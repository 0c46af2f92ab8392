"""Calls of kubectl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

Resource = dict[str, Any]
SECONDS = 30.0


class KubectlError(Exception):
    """kubectl failed; its own words."""


class Cluster:
    """The cluster of a context; `arguments` are those of kubectl that choose it (`--context`, `--kubeconfig`)."""

    def __init__(self, arguments: Sequence[str] = (), program: str = "kubectl") -> None:
        self._command = [program, *arguments]

    def all(self, kind: str) -> list[Resource]:
        """All resources of a kind (`tenants`, `voiceregions`); raises `KubectlError`."""
        found: list[Resource] = json.loads(self._run("get", f"{kind}.platform.oki-toki.net", "-o", "json"))["items"]
        return found

    def one(self, kind: str, name: str) -> Resource | None:
        """One resource, None when there is none of the name; raises `KubectlError`."""
        found = self._run("get", f"{kind}.platform.oki-toki.net", name, "--ignore-not-found", "-o", "json")
        resource: Resource | None = json.loads(found) if found.strip() else None
        return resource

    def annotate(self, kind: str, name: str, key: str, value: str) -> None:
        """Set an annotation, and leave one of another value alone; raises `KubectlError`."""
        self._run("annotate", f"{kind}.platform.oki-toki.net", name, f"{key}={value}", "--overwrite=false")

    def _run(self, *words: str) -> str:
        try:
            done = subprocess.run(
                [*self._command, *words], capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except FileNotFoundError as error:
            raise KubectlError("kubectl is not in PATH") from error
        except subprocess.TimeoutExpired as error:
            raise KubectlError(f"kubectl {words[0]} gave no answer in {SECONDS:.0f} s") from error
        if done.returncode:
            raise KubectlError(done.stderr.strip() or f"kubectl {words[0]} ended with {done.returncode}")
        return done.stdout
