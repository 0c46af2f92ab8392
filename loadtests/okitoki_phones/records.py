"""What a call leaves behind: one JSON line per side of a call, on the disk before the process ends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class LegRecord:
    """One side of one call. Times are seconds since the epoch."""

    role: str
    call_id: str
    caller: str
    number: str
    tenant: str | None = None
    agent: str | None = None
    kind: str | None = None
    attempted_at: float = 0.0
    ringing_at: float | None = None
    answered_at: float | None = None
    established_at: float | None = None
    ended_at: float | None = None
    ended_by: str | None = None
    code: int | None = None
    reason: str | None = None
    bye_code: int | None = None
    invite_retransmissions: int = 0
    bye_retransmissions: int = 0
    media_address: str | None = None
    encrypted: bool = False
    # The tag of the phone that answers: tells the phones of a call that was hunted or forked apart.
    callee_tag: str | None = None
    reference: str | None = None
    # Where the carrier forwarded the call and why (layer 2), such as "+380447654321 busy".
    forwarded: str | None = None
    notes: list[str] = field(default_factory=list)
    audio: dict[str, Any] | None = None

    @property
    def established(self) -> bool:
        return self.established_at is not None

    def as_json(self) -> dict[str, Any]:
        words = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {_camel(name): value for name, value in words.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class JsonLines:
    """A file of JSON lines, each durable when `write` returns (a line per call: the price of fsync is small)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def write(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, separators=(",", ":")) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def write_whole(path: Path, value: Any) -> None:
    """Write a JSON file so that a reader sees either nothing or all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_lines(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """All lines of some files; a last line that a crash cut short is left out."""
    found: list[dict[str, Any]] = []
    for path in paths:
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                if number != len(lines) - 1:
                    raise
    return found
