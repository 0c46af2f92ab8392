"""The faults that are open, on the disk: whoever comes next can undo them, whatever became of who made them."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import Driver, attempt, verify
from okitoki_chaos.load import read_lines
from okitoki_chaos.steps import Plan, plan_of

HEAL_ROUNDS = 3


@dataclass(frozen=True)
class Open:
    """A fault that was announced and not yet undone; `deadline` in epoch seconds."""

    identity: str
    plan: Plan
    deadline: float


class Journal:
    """Lines of JSON, each on the disk (fsync) before anything is done. Several processes may append to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def announce(self, plan: Plan, limit: float) -> str:
        """Write down what is about to be done, and that it must be over after `limit` seconds; returns its id."""
        identity = uuid.uuid4().hex[:12]
        now = time.time()
        self._append({"event": "open", "id": identity, "at": now, "deadline": now + limit, "plan": plan.as_json()})
        return identity

    def close(self, identity: str, by: str) -> None:
        self._append({"event": "closed", "id": identity, "by": by, "at": time.time()})

    def _append(self, line: dict[str, Any]) -> None:
        data = (json.dumps(line) + "\n").encode()
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)

    def lines(self) -> list[dict[str, Any]]:
        """What is complete; a last line cut short announced something that was then never done."""
        return read_lines(self.path)

    def open(self) -> list[Open]:
        """What is to be undone, the latest first."""
        lines = self.lines()
        closed = {line["id"] for line in lines if line["event"] == "closed"}
        found = [
            Open(line["id"], plan_of(line["plan"]), line["deadline"])
            for line in lines
            if line["event"] == "open" and line["id"] not in closed
        ]
        return found[::-1]

    def closed_by(self, identity: str) -> str | None:
        """Who undid it first."""
        return next(
            (str(line["by"]) for line in self.lines() if line["event"] == "closed" and line["id"] == identity), None
        )


def undo(driver: Driver, plan: Plan) -> list[str]:
    """Do the undo steps until the proofs of it hold. Returns what was seen; raises ChaosError when they never do."""
    last: ChaosError | None = None
    for _ in range(HEAL_ROUNDS):
        for step in plan.undo:
            attempt(driver, step)  # may fail where there is nothing to undo: the checks decide
        try:
            return [verify(driver, check) for check in plan.healed]
        except ChaosError as error:
            last = error
    raise ChaosError(f"{plan.fault} on {plan.target} could not be undone: {last}")


def heal(driver: Driver, journal: Journal, by: str, due: Callable[[Open], bool] = lambda _: True) -> list[str]:
    """Undo what is open (and due), the latest first. Returns what was undone; raises after trying all of them."""
    done, troubles = [], []
    for entry in journal.open():
        if not due(entry):
            continue
        try:
            undo(driver, entry.plan)
        except ChaosError as error:
            troubles.append(str(error))
            continue
        journal.close(entry.identity, by)
        done.append(f"{entry.plan.fault} on {entry.plan.target}")
    if troubles:
        raise ChaosError("; ".join(troubles))
    return done
