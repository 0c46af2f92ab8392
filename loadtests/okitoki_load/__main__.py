"""`python -m okitoki_load write|verify|check|records|provision --config FILE --out DIR`.

`write` follows its schedule until SIGTERM, then waits for what is in flight. `verify` compares one writer's ledger with
what is stored; `check` judges a whole run of Locust's users, by the run.json and the ledgers that it left in DIR. Both
exit with 0 when valid, 1 when not, 3 when undecided. All commands exit with 2 on a bad configuration, 4 when the API
gives no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from okitoki_load import checker, ledger, report
from okitoki_load.attempts import DEADLINE_SECONDS
from okitoki_load.client import Api, ApiError
from okitoki_load.provision import provision
from okitoki_load.recorder import Schedule
from okitoki_load.writer import Writer

EXIT_CODES = {checker.VALID: 0, checker.INVALID: 1, checker.UNDECIDED: 3}


class ConfigError(ValueError):
    """A configuration that cannot be used; says which field and what it should be."""


@dataclass(frozen=True)
class Config:
    """One tenant, one run. `key` is an API key of the tenant, or `key_file` names a file that holds it.

    Without `ca`, a file of certificates, the system's are trusted.
    """

    address: str
    host: str
    ca: str = ""
    key: str = field(default="", repr=False)
    key_file: str = ""
    port: int = 443
    run: str = ""
    writer: str = "writer-1"
    number: str = ""
    per_second: float = 20.0
    seconds: float | None = None
    deadline: float = DEADLINE_SECONDS
    seed: int = 1
    since: str = ""
    ledgers: list[str] = field(default_factory=list)
    queues: dict[str, list[str]] = field(default_factory=dict)
    call_ids: list[str] = field(default_factory=list)
    patience: float = 0.0
    workers: list[int] = field(default_factory=list)
    context: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, needed: tuple[str, ...]) -> Config:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: must be a JSON object")
        known = cls.__dataclass_fields__
        if unknown := sorted(set(values) - set(known)):
            raise ConfigError(f"{path}: {unknown[0]}: unknown field; known are {', '.join(sorted(known))}")
        key = "key_file" if "key_file" in values else "key"
        for name in ("address", "host", key, *needed):
            if not values.get(name):
                raise ConfigError(f"{path}: {name}: missing or empty")
        return cls(**values)

    def api(self) -> Api:
        try:
            key = self.key or Path(self.key_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"key_file: {self.key_file}: {error.strerror}") from error
        ca = Path(self.ca) if self.ca else None
        return Api(address=self.address, host=self.host, port=self.port, ca=ca, key=key)


async def write(config: Config, out: Path) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock = ledger.Clock()
    book = ledger.Ledger(out / "ledger.jsonl")
    schedule = Schedule(config.per_second, clock)
    begun = clock.now()
    async with config.api() as api:
        writer = Writer(
            api, book, run=config.run, name=config.writer, number=config.number, clock=clock, seed=config.seed,
            deadline=config.deadline,
        )  # fmt: skip
        print("ready: writing", flush=True)
        await writer.write(schedule, stop, config.seconds)
    await book.close()
    summary = {"begun": begun, "ended": clock.now(), "lateStarts": schedule.late, "missedStarts": writer.missed,
               "worstDelay": round(schedule.worst_delay, 4)}  # fmt: skip
    save(out / "summary.json", summary)
    return 0


async def fetch(config: Config) -> list[dict[str, Any]]:
    async with config.api() as api:
        return [record async for record in api.records(config.since)]


async def records(config: Config, out: Path) -> int:
    """All call records from a time on, into records.json.

    The edge delivers the records of calls after their end: `call_ids` are waited for, `patience` seconds at most.
    """
    found = await fetch_with(config, config.call_ids)
    save(out / "records.json", found)
    print(f"{len(found)} records", flush=True)
    return 0


async def fetch_with(config: Config, call_ids: Iterable[str]) -> list[dict[str, Any]]:
    """The records, once those of all these calls are among them, or when the patience is over.

    Raises ApiError, aiohttp.ClientError or TimeoutError when the API gives no answer until then.
    """
    deadline = time.monotonic() + config.patience
    while True:
        try:
            found = await fetch(config)
        except (ApiError, aiohttp.ClientError, TimeoutError):
            if time.monotonic() >= deadline:
                raise
        else:
            missing = set(call_ids) - {record.get("callId") for record in found}
            if not missing or time.monotonic() >= deadline:
                return found
        await asyncio.sleep(1.0)


async def check(config: Config, out: Path) -> int:
    """Judge a run, into report.json: its ledgers together against what the API returns now."""
    paths = sorted(out.glob("ledger-*.jsonl"))  # noqa: ASYNC240 (nothing else runs in this loop yet)
    if not paths:
        raise ConfigError(f"{out}: has no ledger of the run")
    notes = ledger.read_notes(paths, *ledger.NOTES)
    legs = [note["record"] for note in notes if note["type"] == "leg"]
    answered = {leg["callId"] for leg in legs if leg["role"] == "carrier" and leg["establishedAt"] is not None}
    evidence = report.Evidence(
        config.run, ledger.read(paths), notes, await fetch_with(config, answered),
        report.troubles_of(notes, config.workers), config.context,
    )  # fmt: skip
    found = report.report(evidence)
    save(out / "report.json", found)
    print("\n".join(report.lines(found)), flush=True)
    return EXIT_CODES[found["state"]]


async def verify(config: Config, out: Path) -> int:
    """Read back and check, into verdict.json."""
    operations = ledger.read(Path(path) for path in config.ledgers)
    verdict = checker.check(operations, checker.of_run(await fetch(config), config.run))
    save(out / "verdict.json", verdict.as_json())
    print(
        f"{verdict.state}: {verdict.acknowledged} acknowledged, {len(verdict.lost)} lost,"
        f" {len(verdict.phantom)} phantom, {len(verdict.duplicates)} duplicates, {len(verdict.altered)} altered,"
        f" {verdict.unknown} unknown",
        flush=True,
    )
    return EXIT_CODES[verdict.state]


async def provide(config: Config, out: Path) -> int:
    """Agents and queues; the agents' secrets into secrets.json, which only its owner may read."""
    async with config.api() as api:
        secrets = await provision(api, config.queues)
    save(out / "secrets.json", secrets, mode=0o600)
    print(f"{len(secrets)} agents in {len(config.queues)} queues", flush=True)
    return 0


def save(path: Path, value: Any, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


COMMANDS = {
    "write": (write, ("run", "writer", "number")),
    "check": (check, ("run", "since", "workers")),
    "verify": (verify, ("run", "since", "ledgers")),
    "records": (records, ("since",)),
    "provision": (provide, ("queues",)),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="okitoki_load", description="API clients with an honest ledger.")
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("--config", type=Path, required=True, help="a JSON file; see Config")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the results")
    given = parser.parse_args(arguments)
    work, needed = COMMANDS[given.command]
    try:
        return asyncio.run(work(Config.read(given.config, needed), given.out))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (ApiError, aiohttp.ClientError, TimeoutError, ledger.LedgerError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 4


if __name__ == "__main__":
    sys.exit(main())
