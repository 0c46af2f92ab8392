"""The load of a drill in a cluster: Locust's users of each tenant's API, in processes beside the drill.

Phones are not among them: they need an address of their own that carriers and relays reach, which pods do not have.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.load import last_ok
from okitoki_chaos.staging.config import Load, TenantLoad
from okitoki_chaos.verdict import TenantFacts
from okitoki_load import ledger
from okitoki_load.ledger import WRITE
from okitoki_phones.records import write_whole

SOURCES = Path("/opt/okitoki/src")
START_SECONDS, END_SECONDS, READ_SECONDS, PATIENCE_SECONDS = 90.0, 60.0, 300.0, 60.0
NOT_MEASURED = (
    "calls and their audio: phones need an address of their own that carriers and relays reach, which pods do not have"
)


def arguments(tenant: TenantLoad, load: Load, folder: Path, seed: int) -> list[str]:
    """Locust's, for one tenant; it runs until it is told to end, and the drill is the judge. Pure."""
    return [
        *(sys.executable, "-m", "locust", "-f", str(SOURCES / "locustfile.py"), "--headless", "--judge", "no"),
        *("--host", f"https://{tenant.host}", "--api-key-file", tenant.key_file),
        *("--numbers", ",".join(tenant.numbers), "--ledger", str(folder), "--seed", str(seed)),
        *("--users", str(load.users), "--spawn-rate", str(load.users), "--rate", str(load.rate)),
        *("--deadline", str(load.deadline), "--requests-at-once", str(load.requests_at_once)),
        *(("--address", tenant.address) if tenant.address else ()),
        *(("--ca-file", tenant.ca_file) if tenant.ca_file else ()),
    ]


class Locusts:
    """One process per tenant; what each saw is in `load-TENANT` of the session's folder."""

    def __init__(self, folder: Path, tenants: Sequence[TenantLoad], load: Load, seed: int) -> None:
        self._folder, self._tenants, self._load, self._seed = folder, tenants, load, seed
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> dict[str, str]:
        """Until every tenant has acknowledged a write; tenant -> its ledger, relative to the session's folder.

        Raises ChaosError with Locust's own words when one ends before that, or none is acknowledged in time.
        """
        for tenant in self._tenants:
            place = load_folder(self._folder, tenant.name)
            place.mkdir(parents=True)
            with (place / "locust.log").open("wb") as log:
                command = arguments(tenant, self._load, place, self._seed)
                self._running[tenant.name] = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
                )
        until = time.monotonic() + START_SECONDS
        while waiting := [tenant.name for tenant in self._tenants if not _flows(self._folder, tenant.name)]:
            for name in waiting:
                if self._running[name].poll() is not None or time.monotonic() > until:
                    raise ChaosError(f"no write of {name} was acknowledged before any fault: {self._words(name)}")
            time.sleep(0.5)
        return {tenant.name: str(ledger_of(self._folder, tenant.name).relative_to(self._folder))
                for tenant in self._tenants}  # fmt: skip

    def end(self) -> list[str]:
        """End them in order: what is under way is waited for. Returns what went wrong with it."""
        for process in self._running.values():
            process.terminate()
        troubles = []
        for name, process in self._running.items():
            try:
                process.wait(END_SECONDS + self._load.deadline)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                troubles.append(f"the load of {name} did not end by itself")
        self._running = {}
        return troubles

    def _words(self, name: str) -> str:
        log = load_folder(self._folder, name) / "locust.log"
        return log.read_text(encoding="utf-8", errors="replace").strip()[-500:] or "Locust says nothing"


def load_folder(folder: Path, tenant: str) -> Path:
    return folder / f"load-{tenant}"


def _ledger(folder: Path, tenant: str) -> Path | None:
    """In the folder of Locust's run, whose name it chose itself; None when it has not begun."""
    found = sorted(load_folder(folder, tenant).glob("*/run.json"))
    return found[0].with_name("ledger-0.jsonl") if found else None


def ledger_of(folder: Path, tenant: str) -> Path:
    """Raises ChaosError when Locust has not begun."""
    found = _ledger(folder, tenant)
    if found is None:
        raise ChaosError(f"there is no ledger of {tenant} in {load_folder(folder, tenant)}")
    return found


def _flows(folder: Path, tenant: str) -> bool:
    path = _ledger(folder, tenant)
    return path is not None and path.exists() and last_ok(path) > 0


def read_back(folder: Path, tenant: TenantLoad) -> TenantFacts:
    """What the tenant's users did, also those of a Locust that was killed, and what its API has stored.

    Raises ChaosError when the API does not answer.
    """
    path = ledger_of(folder, tenant.name)
    known: Mapping[str, Any] = json.loads(path.with_name("run.json").read_text(encoding="utf-8"))
    place = load_folder(folder, tenant.name)
    asked = {key: known[key] for key in ("address", "host", "port", "ca", "key_file", "since")}
    write_whole(place / "records-config.json", {**asked, "patience": PATIENCE_SECONDS})
    command = [sys.executable, "-m", "okitoki_load", "records"]
    command += ["--config", str(place / "records-config.json"), "--out", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=READ_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ChaosError(f"the API of {tenant.host} did not say what it has stored") from error
    if done.returncode != 0:
        raise ChaosError(f"what {tenant.host} has stored could not be read: {done.stderr.strip()[-300:]}")
    records = json.loads((place / "records.json").read_text(encoding="utf-8"))
    writes = [operation for operation in ledger.read([path]) if operation.kind == WRITE]
    return TenantFacts(writes, records, run=str(known["run"]))
