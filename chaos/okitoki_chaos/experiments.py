"""The experiments' files: Chaos Toolkit's format, with what this project adds under `extensions`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from okitoki_chaos.cluster import ChaosError

# Beside the package in the repository, and in the drill image.
ROOT = Path(__file__).resolve().parent.parent
FOLDER, PLANS = ROOT / "experiments", ROOT / "plans"
EXTENSION = "okitoki"


@dataclass(frozen=True)
class Experiment:
    """One file. `row` is the line of the promise that it proves, None for another cell; goals are docs/drills.md's."""

    name: str
    document: Mapping[str, Any]

    @property
    def title(self) -> str:
        return str(self.document["title"])

    @property
    def _extension(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = next(one for one in self.document["extensions"] if one["name"] == EXTENSION)
        return found

    @property
    def row(self) -> str | None:
        return self._extension.get("row")

    @property
    def goals(self) -> Mapping[str, float | None]:
        goals: Mapping[str, float | None] = self._extension["goals"]
        return goals

    @property
    def must_fail(self) -> Sequence[str]:
        """What a control must be caught at; empty for what is no control."""
        return tuple(self._extension.get("mustFail", ()))

    @property
    def faults(self) -> Sequence[Mapping[str, Any]]:
        """What its action `inject` is given."""
        for activity in self.document["method"]:
            if activity["provider"]["func"] == "inject":
                faults: Sequence[Mapping[str, Any]] = activity["provider"]["arguments"]["faults"]
                return faults
        raise ChaosError(f"{self.name}: injects nothing")

    def configured(self, **values: Any) -> dict[str, Any]:
        """The document with other values in its configuration, as chaoslib wants it."""
        document = copy.deepcopy(dict(self.document))
        unknown = set(values) - set(document["configuration"])
        if unknown:
            raise ChaosError(f"{self.name}: {sorted(unknown)[0]} is not in its configuration")
        document["configuration"] |= values
        return document


def load(name: str, folder: Path = FOLDER) -> Experiment:
    """Raises ChaosError with the known names when there is no such file."""
    path = folder / f"{name}.yaml"
    if not path.exists():
        raise ChaosError(f"there is no experiment {name!r}; there are {', '.join(names(folder))}")
    return Experiment(name, yaml.safe_load(path.read_text(encoding="utf-8")))


def names(folder: Path = FOLDER) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))
