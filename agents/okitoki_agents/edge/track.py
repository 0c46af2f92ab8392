"""keepalived's track files, by which processes of this node say where an address may live."""

from __future__ import annotations

import os

from okitoki_agents.edge.facts import Paths


class TrackFile:
    """0 good, 1 fault (keepalived.conf(5), track_file). Written in place: one byte, so never read by halves."""

    def __init__(self, paths: Paths, name: str, initial: int = 1) -> None:
        paths.track.mkdir(parents=True, exist_ok=True)
        self._path = paths.track / name
        self.value = initial
        try:
            self.value = int(self._path.read_text())
        except (OSError, ValueError):
            self._write(initial)

    def set(self, value: int) -> None:
        if value != self.value:
            self._write(value)

    def _write(self, value: int) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.write(handle, b"%d\n" % value)
        finally:
            os.close(handle)
        self.value = value
