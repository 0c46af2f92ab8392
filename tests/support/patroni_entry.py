"""images/postgres/patroni_main.py as a module, without what its import leaves behind."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

MAIN = Path(__file__).parents[2] / "images/postgres/patroni_main.py"
STORE = ("attempt_to_acquire_leader", "update_leader", "write_sync_state", "delete_leader", "touch_member")
AVAILABILITY = ("shutdown", "recover", "update_failsafe", "call_failsafe_member", "check_failsafe_topology")
REST = ("_write_status_response",)


def patronis(*names: str) -> list[Any]:
    """Modules of Patroni; the umask, which Patroni changes when it is imported, is afterwards as it was."""
    umask = os.umask(0o022)
    try:
        importlib.import_module("patroni.postgresql")  # `ha` can only be imported after it: they import each other
        return [importlib.import_module(f"patroni.{name}") for name in names]
    finally:
        os.umask(umask)


def load() -> tuple[ModuleType, dict[str, Callable[..., Any]]]:
    """The module, and what it puts in the place of Patroni's methods, by their names. Patroni's classes are afterwards
    as they were."""
    api, ha, kubernetes = patronis("api", "ha", "dcs.kubernetes")
    mended = [
        *((kubernetes.Kubernetes, name) for name in STORE),
        *((ha.Ha, name) for name in AVAILABILITY),
        *((api.RestApiHandler, name) for name in REST),
    ]
    before = [getattr(owner, name) for owner, name in mended]
    spec = importlib.util.spec_from_file_location("patroni_main", MAIN)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return module, {name: getattr(owner, name) for owner, name in mended}
    finally:
        for (owner, name), method in zip(mended, before, strict=True):
            setattr(owner, name, method)
