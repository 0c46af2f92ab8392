"""Ledgers of workers, brought to the master while they grow: a worker that is lost takes a moment with it, not a run.

One connection per worker: a line that says whose ledger comes, the master's line with how much of it is there, then
the file's bytes from there on; at its end the master says again how much it has.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer

CHUNK = 1 << 16
LOOK_EVERY_SECONDS = 0.2
AGAIN_SECONDS = 1.0
SILENCE_SECONDS = 15.0
RUN_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

log = logging.getLogger(__name__)


class Collector:
    """The master's side."""

    def __init__(self, root: Path, port: int, host: str = "") -> None:
        self._root = root
        self._run: str | None = None
        self._connections: dict[int, Any] = {}
        self._server = StreamServer((host, port), self._serve)
        self._server.start()

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def expect(self, run: str) -> None:
        """Take ledgers of this run, and of no other."""
        self._run = run

    def complete(self, workers: set[int]) -> bool:
        """Whether every one of these has brought all of its ledger."""
        return self._run is not None and all(
            ends_well(self._root / self._run / f"ledger-{worker}.jsonl") for worker in workers
        )

    def _serve(self, connection: Any, source: Any) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError), contextlib.closing(connection):
            reader = connection.makefile("rb")
            header = json.loads(reader.readline(CHUNK))
            run, worker = str(header["run"]), int(header["worker"])
            if run != self._run or not RUN_NAME.fullmatch(run):
                log.warning("a ledger of another run was offered by %s: %.80r", source[0], run)
                return
            if (before := self._connections.pop(worker, None)) is not None:
                before.close()
            self._connections[worker] = connection
            try:
                self._receive(connection, reader, self._root / run / f"ledger-{worker}.jsonl")
            finally:
                if self._connections.get(worker) is connection:
                    del self._connections[worker]

    def _receive(self, connection: Any, reader: Any, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            connection.sendall(_size(file.tell()))
            while data := reader.read1(CHUNK):
                file.write(data)
            os.fsync(file.fileno())
            connection.sendall(_size(file.tell()))

    def close(self) -> None:
        self._server.stop(timeout=1)


class Courier:
    """A worker's side: follows its ledger's file."""

    def __init__(self, path: Path, run: str, worker: int, master: tuple[str, int]) -> None:
        self.delivered = False
        self._path = path
        self._header = json.dumps({"run": run, "worker": worker}).encode() + b"\n"
        self._master = master
        self._last = Event()
        self._greenlet = gevent.spawn(self._run)

    def finish(self, limit: float) -> bool:
        """The file is complete: bring the rest. False when that did not work within so many seconds."""
        self._last.set()
        self._greenlet.join(timeout=limit)
        self._greenlet.kill()
        return self.delivered

    def _run(self) -> None:
        while not self.delivered:
            try:
                self._deliver()
            except (OSError, ValueError, KeyError) as error:
                log.warning("the ledger does not reach the master at %s:%d: %s", *self._master, error)
                gevent.sleep(AGAIN_SECONDS)

    def _deliver(self) -> None:
        with contextlib.closing(socket.create_connection(self._master, timeout=SILENCE_SECONDS)) as connection:
            reader = connection.makefile("rb")
            connection.sendall(self._header)
            begin = int(json.loads(reader.readline())["size"])
            with self._path.open("rb") as file:
                file.seek(begin)
                self._follow(connection, file)
                connection.shutdown(socket.SHUT_WR)
                self.delivered = int(json.loads(reader.readline())["size"]) == file.tell()

    def _follow(self, connection: Any, file: Any) -> None:
        while True:
            last = self._last.is_set()  # asked first: what was written before it is read below
            while data := file.read(CHUNK):
                connection.sendall(data)
            if last:
                return
            self._last.wait(LOOK_EVERY_SECONDS)


def _size(size: int) -> bytes:
    return json.dumps({"size": size}).encode() + b"\n"


def ends_well(path: Path) -> bool:
    """Whether a ledger's last line says that it is the last."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - CHUNK))
        lines = file.read().split(b"\n")
    try:
        return len(lines) > 1 and not lines[-1] and json.loads(lines[-2])["type"] == "end"
    except (ValueError, KeyError):
        return False
