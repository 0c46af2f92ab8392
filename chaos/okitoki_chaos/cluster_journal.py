"""The journal of faults in the cluster itself: it outlives the drill's pod and node; a watchdog elsewhere reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from okitoki_chaos.cluster import ChaosError, Cluster
from okitoki_chaos.journal import Journal

NAME = "okitoki-drill-journal"
OPEN, CLOSED = "open.", "closed."


class ClusterJournal(Journal):
    """Entries are keys of one ConfigMap (`open.ID`, `closed.ID`), which etcd has on its disks before anything is done.

    `copy` is a file for people, with all that this process wrote; nothing is decided by it. An open entry leaves the
    ConfigMap when it is closed, so that its size (1 MiB at most) is that of the open ones.
    """

    def __init__(self, cluster: Cluster, namespace: str, copy: Path | None = None) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._copy = Journal(copy) if copy is not None else None

    def _append(self, line: dict[str, Any]) -> None:
        """Raises ChaosError when the API server does not take it: then nothing may be done."""
        if line["event"] == "open":
            self._patch("merge", {"data": {OPEN + line["id"]: json.dumps(line)}})
        else:
            self._close(line)
        if self._copy is not None:
            self._copy._append(line)

    def _close(self, line: dict[str, Any]) -> None:
        """Of two that undid the same fault the first one closes it: the second finds no open entry any more."""
        move = [
            {"op": "remove", "path": f"/data/{OPEN}{line['id']}"},
            {"op": "add", "path": f"/data/{CLOSED}{line['id']}", "value": json.dumps(line)},
        ]
        try:
            self._patch("json", move)
        except ChaosError:
            if CLOSED + str(line["id"]) not in self._data():
                raise

    def _patch(self, kind: str, patch: Any) -> None:
        where = ("patch", "configmap", NAME, "-n", self._namespace)
        self._cluster.kubectl(*where, f"--type={kind}", "-p", json.dumps(patch))

    def _data(self) -> Mapping[str, str]:
        found = json.loads(self._cluster.kubectl("get", "configmap", NAME, "-n", self._namespace, "-o", "json"))
        data: Mapping[str, str] = found.get("data") or {}
        return data

    def lines(self) -> list[dict[str, Any]]:
        """In order of time."""
        return sorted((json.loads(text) for text in self._data().values()), key=lambda line: float(line["at"]))

    def forget_closed(self) -> None:
        """Take away what is closed: a drill begins, and nobody asks for the last one's any more."""
        old = {key: None for key in self._data() if key.startswith(CLOSED)}
        if old:
            self._patch("merge", {"data": old})
