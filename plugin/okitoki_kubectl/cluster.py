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
    """The cluster of a context; `arguments` are those of kubectl that choose it (`--context`, `--kubeconfig`). Every
    method raises `KubectlError`."""

    def __init__(self, arguments: Sequence[str] = (), program: str = "kubectl") -> None:
        self._command = [program, *arguments]

    def all(self, kind: str) -> list[Resource]:
        """All resources of a kind (`tenants`, `voiceregions`)."""
        return self._list(_platform(kind))

    def one(self, kind: str, name: str) -> Resource | None:
        """One resource, None when there is none of the name."""
        return self._find(_platform(kind), name)

    def annotate(self, kind: str, name: str, key: str, value: str) -> None:
        """Set an annotation, and leave one of another value alone."""
        self._run("annotate", _platform(kind), name, f"{key}={value}", "--overwrite=false")

    def unannotate(self, kind: str, name: str, key: str) -> None:
        """Remove an annotation."""
        self._run("annotate", _platform(kind), name, f"{key}-")

    def change(self, kind: str, name: str, path: str, before: str, after: str) -> None:
        """Change one field (a JSON pointer) that still has the value `before`."""
        steps = [
            {"op": "test", "path": path, "value": before},
            {"op": "replace", "path": path, "value": after},
        ]
        self._run("patch", _platform(kind), name, "--type=json", f"--patch={json.dumps(steps)}")

    def cron_jobs(self, selector: str) -> list[Resource]:
        """Those of all namespaces with these labels."""
        return self._list("cronjobs", "-A", "-l", selector)

    def jobs(self, namespace: str) -> list[Resource]:
        """The Jobs of a namespace."""
        return self._list("jobs", "-n", namespace)

    def config(self, namespace: str, name: str) -> dict[str, str]:
        """Keys and values of a ConfigMap, none when it is not there."""
        return (self._find("configmap", name, "-n", namespace) or {}).get("data") or {}

    def create_job(self, namespace: str, name: str, cron_job: str) -> None:
        """A Job of a CronJob, now."""
        self._run("create", "job", name, "-n", namespace, f"--from=cronjob/{cron_job}")

    def delete_job(self, namespace: str, name: str) -> None:
        """Its pods are told to end first, and it goes with them; this does not wait for it."""
        self._run("delete", "job", name, "-n", namespace, "--cascade=foreground", "--wait=false")

    def _list(self, *words: str) -> list[Resource]:
        found: list[Resource] = json.loads(self._run("get", *words, "-o", "json"))["items"]
        return found

    def _find(self, *words: str) -> Resource | None:
        found = self._run("get", *words, "--ignore-not-found", "-o", "json")
        resource: Resource | None = json.loads(found) if found.strip() else None
        return resource

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


def _platform(kind: str) -> str:
    """With its group: another one may have a kind of the same name."""
    return f"{kind}.platform.oki-toki.net"
