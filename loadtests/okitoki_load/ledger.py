"""What a client meant to do and what became of it, as JSON lines.

The intent is on the disk (fsync) before the request leaves, so that nothing stored can be unknown to the ledger. An
intent without an outcome, after a crash of the client, counts as unknown. Beside intents and outcomes a ledger may hold
notes: what else the client saw (requests, calls, its own stalls).
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

OK, FAIL, UNKNOWN = "ok", "fail", "unknown"
WRITE, CALL = "write", "call"

# `run`: who writes this ledger; `request`: one exchange; `missed`: a start that was due and not made; `late`: one that
# was made late; `stall`: the client itself did not get on; `violation`: an answer that contradicts an acknowledgement;
# `leg`: one side of a call; `registration`: a phone's; `end`: the client has said all it knows.
NOTES = frozenset({"run", "request", "missed", "late", "stall", "violation", "leg", "registration", "end"})


class Clock:
    """Wall-clock times that only move forward: the monotonic clock, set once by the wall clock (seconds)."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return time.monotonic() + self._offset


@dataclass(frozen=True)
class Operation:
    """One operation. `due` is when the schedule wanted it to start, `finished` when its outcome was known (epoch s)."""

    id: str
    writer: str
    sequence: int
    body: dict[str, Any]
    due: float
    outcome: str = UNKNOWN
    finished: float | None = None
    attempts: int = 0
    detail: str | None = None
    kind: str = WRITE

    @property
    def latency(self) -> float | None:
        """Seconds from the intended start."""
        return None if self.finished is None else self.finished - self.due


def intent_line(operation: Operation) -> dict[str, Any]:
    """What is written before an operation begins."""
    line = {
        "type": "intent",
        "id": operation.id,
        "writer": operation.writer,
        "sequence": operation.sequence,
        "due": operation.due,
        "body": operation.body,
    }
    return line if operation.kind == WRITE else {**line, "kind": operation.kind}


def outcome_line(operation: Operation) -> dict[str, Any]:
    """What is written when it has ended."""
    return {
        "type": "outcome",
        "id": operation.id,
        "outcome": operation.outcome,
        "finished": operation.finished,
        "attempts": operation.attempts,
        "detail": operation.detail,
    }


def encode(line: dict[str, Any]) -> bytes:
    """One line of the file."""
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


class Ledger:
    """Appends to one file. Intents that are made at the same time share an fsync."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._pending: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None

    async def intend(self, operation: Operation) -> None:
        """Returns when the intent is on the disk; raises OSError when it cannot be, and then nothing may be sent."""
        await self._durable(intent_line(operation))

    async def conclude(self, operation: Operation) -> None:
        """Note the outcome; durable like the intent, so that an acknowledgement outlives the client."""
        await self._durable(outcome_line(operation))

    async def _durable(self, line: dict[str, Any]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((encode(line), done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                await asyncio.to_thread(self._write, b"".join(line for line, _ in batch))
            except OSError as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
            else:
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        os.fsync(self._file.fileno())

    async def close(self) -> None:
        if self._flusher is not None:
            await self._flusher
        self._file.close()


class LedgerError(ValueError):
    """A ledger that contradicts itself or cannot be read."""


def read(paths: Iterable[Path]) -> list[Operation]:
    """All operations, in order of intent. A last line cut short by a crash is left out."""
    found: dict[str, Operation] = {}
    for _ in _lines(paths, lambda line: _take(found, line)):
        pass
    return list(found.values())


def read_notes(paths: Iterable[Path], *kinds: str) -> list[dict[str, Any]]:
    """The notes of these kinds, file by file."""
    return [line for line in _lines(paths, lambda line: line["type"]) if line["type"] in kinds]


def _lines(paths: Iterable[Path], check: Callable[[dict[str, Any]], Any]) -> Iterator[dict[str, Any]]:
    for path in paths:
        lines = path.read_bytes().split(b"\n")
        complete = lines[:-1]  # what follows the last line feed was not finished
        for number, text in enumerate(complete, 1):
            try:
                line = json.loads(text)
                check(line)
            except (ValueError, KeyError, TypeError) as error:
                raise LedgerError(f"{path}, line {number}: {error}") from error
            yield line


def _take(found: dict[str, Operation], line: dict[str, Any]) -> None:
    if line["type"] == "intent":
        if line["id"] in found:
            raise LedgerError(f"a second intent of {line['id']}")
        found[line["id"]] = Operation(
            line["id"], line["writer"], line["sequence"], line["body"], line["due"], kind=line.get("kind", WRITE)
        )
    elif line["type"] == "outcome":
        found[line["id"]] = replace(
            found[line["id"]], outcome=line["outcome"], finished=line["finished"], attempts=line["attempts"],
            detail=line["detail"],
        )  # fmt: skip
    elif line["type"] not in NOTES:
        raise LedgerError(f"unknown type {line['type']!r}")
