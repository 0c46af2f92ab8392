"""What belongs to which phase of a measurement."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from bench import run


class Log:
    """An audit log whose looks are given."""

    def __init__(self, *looks: dict[tuple[str, str], int]) -> None:
        self._looks = [Counter(look) for look in looks]

    def since_last(self) -> Counter[tuple[str, str]]:
        return self._looks.pop(0)


class Running:
    """An operator that has started and come to rest."""

    use = SimpleNamespace(cpu=lambda: 1.0, memory=lambda field: 50.0)

    async def reconciled(self, count: int, every: float) -> float:
        return 2.0

    async def settled(self, quiet: float) -> float:
        return 0.0


async def test_what_was_written_before_the_start_is_not_counted_as_written_in_it() -> None:
    changes, start = {("patch", "deployments"): 20}, {("create", "events"): 1, ("list", "pods"): 5}
    found: Any = SimpleNamespace(audit=Log(changes, start))
    running: Any = Running()
    assert (await run._second_life(found, running, 20))["start"]["writes"] == 1
