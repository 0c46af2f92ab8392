"""The ledger's file as greenlets write it: the same lines, the same durability, never a blocked loop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult

from okitoki_load.ledger import Operation, encode, intent_line, outcome_line


class Book:
    """Appends to one file. Lines that come at the same time share an fsync, which a thread does."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._lines: list[bytes] = []
        self._waiting: list[AsyncResult] = []
        self._flusher: gevent.Greenlet | None = None

    def intend(self, operation: Operation) -> None:
        """Returns when the intent is on the disk; raises OSError when it cannot be, and then nothing may be sent."""
        self._durable(intent_line(operation))

    def conclude(self, operation: Operation) -> None:
        """Returns when the outcome is on the disk."""
        self._durable(outcome_line(operation))

    def note(self, kind: str, /, **facts: Any) -> None:
        """What else was seen; it goes to the disk together with what comes next, or soon."""
        self._lines.append(encode({"type": kind, **facts}))
        self._wake()

    def sync(self) -> None:
        """Returns when everything noted so far is on the disk."""
        self._durable(None)

    def _durable(self, line: dict[str, Any] | None) -> None:
        done = AsyncResult()
        if line is not None:
            self._lines.append(encode(line))
        self._waiting.append(done)
        self._wake()
        done.get()

    def _wake(self) -> None:
        if self._flusher is None or self._flusher.dead:
            self._flusher = gevent.spawn(self._flush)

    def _flush(self) -> None:
        pool = gevent.get_hub().threadpool
        while self._lines or self._waiting:
            lines, self._lines = self._lines, []
            waiting, self._waiting = self._waiting, []
            try:
                pool.spawn(self._write, b"".join(lines)).get()
            except OSError as error:
                for done in waiting:
                    done.set_exception(error)
            else:
                for done in waiting:
                    done.set()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.sync()
        self._file.close()
