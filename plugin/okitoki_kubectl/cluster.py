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
        found: list[Resource] = json.loads(self._run("get", f"{kind}.platform.oki-toki.net", "-o", "json"))["items"]
        return found

    def one(self, kind: str, name: str) -> Resource | None:
        """One resource, None when there is none of the name."""
        found = self._run("get", f"{kind}.platform.oki-toki.net", name, "--ignore-not-found", "-o", "json")
        resource: Resource | None = json.loads(found) if found.strip() else None
        return resource

    def annotate(self, kind: str, name: str, key: str, value: str) -> None:
        """Set an annotation, and leave one of another value alone."""
        self._run("annotate", f"{kind}.platform.oki-toki.net", name, f"{key}={value}", "--overwrite=false")

    def unannotate(self, kind: str, name: str, key: str) -> None:
        """Remove an annotation."""
        self._run("annotate", f"{kind}.platform.oki-toki.net", name, f"{key}-")

    def change(self, kind: str, name: str, path: str, before: str, after: str) -> None:
        """Change one field (a JSON pointer) that still has the value `before`."""
        steps = [
            {"op": "test", "path": path, "value": before},
            {"op": "replace", "path": path, "value": after},
        ]
        self._run("patch", f"{kind}.platform.oki-toki.net", name, "--type=json", f"--patch={json.dumps(steps)}")

    def cron_jobs(self, selector: str) -> list[Resource]:
        """Those of all namespaces with these labels."""
        found: list[Resource] = json.loads(self._run("get", "cronjobs", "-A", "-l", selector, "-o", "json"))["items"]
        return found

    def jobs(self, namespace: str) -> list[Resource]:
        """The Jobs of a namespace."""
        found: list[Resource] = json.loads(self._run("get", "jobs", "-n", namespace, "-o", "json"))["items"]
        return found

    def config(self, namespace: str, name: str) -> dict[str, str]:
        """Keys and values of a ConfigMap, none when it is not there."""
        found = self._run("get", "configmap", name, "-n", namespace, "--ignore-not-found", "-o", "json")
        data: dict[str, str] = (json.loads(found).get("data") or {}) if found.strip() else {}
        return data

    def create_job(self, namespace: str, name: str, cron_job: str) -> None:
        """A Job of a CronJob, now."""
        self._run("create", "job", name, "-n", namespace, f"--from=cronjob/{cron_job}")

    def delete_job(self, namespace: str, name: str) -> None:
        """Its pods are told to end first, and it goes with them; this does not wait for it."""
        self._run("delete", "job", name, "-n", namespace, "--cascade=foreground", "--wait=false")

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
