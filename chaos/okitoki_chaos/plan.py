"""A plan: which experiments, how often, on whom, at which moments. The same seed makes the same plan. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.experiments import PLANS

# A fault's moment is uniform over more than Patroni's loop (3 s) and any heartbeat of the platform.
MOMENT_SECONDS = (1.0, 7.0)
# For drawing: no experiment takes less, so there are never too few.
SHORTEST_SECONDS = 30.0


@dataclass(frozen=True)
class Item:
    """One experiment to be run once. `set` overrides its configuration."""

    index: int
    experiment: str
    repetition: int
    tenant: str
    moment: float
    session: int
    set: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.index:03d}-{self.experiment}-{self.repetition}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """All of them, in order; `hours` bounds a plan that draws."""

    name: str
    seed: int
    items: Sequence[Item]
    hours: float | None = None

    def as_json(self) -> dict[str, Any]:
        items = [one.as_json() for one in self.items]
        return {"name": self.name, "seed": self.seed, "hours": self.hours, "items": items}

    def sessions(self) -> list[list[Item]]:
        """Items by session: load is started, ended and judged once for each, so that an interruption costs one."""
        found: dict[int, list[Item]] = {}
        for item in self.items:
            found.setdefault(item.session, []).append(item)
        return list(found.values())


def of_json(value: Mapping[str, Any]) -> Plan:
    return Plan(value["name"], value["seed"], [Item(**one) for one in value["items"]], value["hours"])


def read(name: str, folder: Path = PLANS) -> Mapping[str, Any]:
    """A plan's file; raises ChaosError with the known names."""
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in folder.glob("*.yaml")))
        raise ChaosError(f"there is no plan {name!r}; there are {known}")
    found: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def make(
    file: Mapping[str, Any], seed: int, tenants: Sequence[str], only: Sequence[str] = (), hours: float | None = None
) -> Plan:
    """Items out of a plan's file. `only` keeps the named experiments. Raises ChaosError when nothing is left."""
    generator = random.Random(f"{seed}/{file['name']}")  # noqa: S311
    entries = [entry for entry in file["items"] if not only or entry["experiment"] in only]
    if not entries:
        raise ChaosError(f"plan {file['name']} has none of {', '.join(only)}")
    wanted = [(entry, number) for entry in entries for number in range(1, entry.get("times", 1) + 1)]
    if file.get("draw"):
        hours = hours if hours is not None else float(file["hours"])
        count = int(hours * 3600 / SHORTEST_SECONDS)
        wanted = [(generator.choice(entries), number) for number in range(1, count + 1)]
    else:
        hours = None
        if file.get("shuffle"):
            generator.shuffle(wanted)
    items = [
        Item(
            index=index,
            experiment=entry["experiment"],
            repetition=number,
            tenant=generator.choice(list(tenants)),
            moment=round(generator.uniform(*MOMENT_SECONDS), 3),
            session=index // int(file["perSession"]) + 1,
            set=entry.get("set", {}),
        )
        for index, (entry, number) in enumerate(wanted)
    ]
    return Plan(file["name"], seed, items, hours)
