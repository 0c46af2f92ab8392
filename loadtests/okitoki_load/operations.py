"""The writes of one writer: numbered, with keys and contents that follow from a seed."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime
from typing import Any

from okitoki_load.ledger import Operation


class Operations:
    """Makes one writer's operations. The same seed, run and name give the same keys; `random` is for all else."""

    def __init__(self, *, run: str, name: str, number: str, seed: int = 1) -> None:
        self.random = random.Random(f"{seed}/{run}/{name}/moments")
        self._keys = random.Random(f"{seed}/{run}/{name}")
        self.name = name
        self._run = run
        self._number = number
        self._sequence = 0

    def write(self, due: float) -> Operation:
        """A call record to be written at an intended time (epoch seconds)."""
        key, sequence = self._next()
        begun = datetime.fromtimestamp(due, UTC).isoformat(timespec="milliseconds")
        body = {
            "direction": "out",
            "number": self._number,
            "caller": self._number,
            "startedAt": begun,
            "endedAt": begun,
            "endReason": "test",
            "note": f"{self._run}/{self.name}/{sequence}",
        }
        return Operation(key, self.name, sequence, body, due)

    def other(self, kind: str, body: dict[str, Any], due: float) -> Operation:
        """Something that stores no record of its own under its key, such as a call."""
        key, sequence = self._next()
        return Operation(key, self.name, sequence, body, due, kind=kind)

    def _next(self) -> tuple[str, int]:
        self._sequence += 1
        return str(uuid.UUID(int=self._keys.getrandbits(128), version=4)), self._sequence
