"""What the release tells its drills: a JSON file that the chart writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from okitoki_chaos.agent import AgentDriver
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.session import Settings


class ConfigError(ChaosError):
    """A configuration that cannot be used; names the field and what it should be."""


@dataclass(frozen=True)
class TenantLoad:
    """A tenant that takes part, and how its API is reached. Files are paths in the drill's container."""

    name: str
    host: str
    numbers: Sequence[str]
    key_file: str
    address: str = ""
    ca_file: str = ""


@dataclass(frozen=True)
class Load:
    """Locust's users of each tenant (docs/load.md)."""

    users: int = 4
    rate: float = 2.5
    deadline: float = 12.0
    requests_at_once: int = 8


@dataclass(frozen=True)
class Config:
    """`plan`, `only`, `seed`, `hours` as `make drill` has them; `namespace`: where the agents are; `allow`: rights
    beyond the least; `resume`: whether an interrupted drill of this plan is gone on with."""

    tenants: Sequence[TenantLoad]
    regions: Sequence[str]
    namespace: str
    plan: str = "smoke"
    only: Sequence[str] = ()
    seed: int | None = None
    hours: float | None = None
    allow: Sequence[str] = ()
    times: str = "judged"
    resume: bool = True
    load: Load = field(default_factory=Load)

    @classmethod
    def read(cls, path: Path) -> Config:
        """Raises ConfigError."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error
        tenants = [_made(TenantLoad, one, f"tenants[{number}]") for number, one in enumerate(values.pop("tenants", []))]
        load = _made(Load, values.pop("load", {}), "load")
        found: Config = _made(cls, {**values, "tenants": tenants, "load": load}, "the configuration")
        for name in ("tenants", "regions"):
            if not getattr(found, name):
                raise ConfigError(f"{name}: name at least one")
        return found

    def settings(self, run: str, seed: int, begun: float, ledgers: Mapping[str, str]) -> Settings:
        """A session's, as its folder keeps them."""
        return Settings(
            run=run, seed=seed, tenants=[one.name for one in self.tenants], regions=list(self.regions),
            ledgers=ledgers, cluster="", driver=AgentDriver.name, namespace=self.namespace, allow=list(self.allow),
            begun=begun,
        )  # fmt: skip


def _made(kind: Any, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: must be an object")
    if unknown := sorted(set(values) - {one.name for one in fields(kind)}):
        raise ConfigError(f"{where}: {unknown[0]}: unknown field")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {str(error).partition(') ')[2]}") from error
