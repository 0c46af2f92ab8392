"""The commands, as processes see them."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from unit.load.doubles import HOST, KEY, Store, certificate

from okitoki_load.__main__ import main


class World:
    def __init__(self, store: Store, port: int, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.base = {"address": "127.0.0.1", "port": port, "host": HOST, "ca": str(folder / "ca.crt"), "key": KEY}

    async def run(self, command: str, **values: Any) -> int:
        config = self.folder / "config.json"
        config.write_text(json.dumps({**self.base, **values}))
        return await asyncio.to_thread(main, [command, "--config", str(config), "--out", str(self.folder / "out")])


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    # Signal handlers belong to the main thread; the command runs beside the server here.
    monkeypatch.setattr(asyncio.AbstractEventLoop, "add_signal_handler", lambda *_: None, raising=False)
    monkeypatch.setattr("asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler", lambda *_: None)
    context, _ = certificate(tmp_path)
    store = Store()
    runner, port = await store.start(context)
    yield World(store, port, tmp_path)
    await runner.cleanup()


RUN = {"run": "run", "writer": "w", "number": "+380441234567", "per_second": 50, "seconds": 0.2}
READ = {"run": "run", "since": "2026-01-01T00:00:00Z"}


async def test_write_then_verify(world: World) -> None:
    assert await world.run("write", **RUN) == 0
    summary = json.loads((world.folder / "out/summary.json").read_text())
    assert summary["missedStarts"] == 0
    ledgers = [str(world.folder / "out/ledger.jsonl")]
    assert await world.run("verify", **READ, ledgers=ledgers) == 0
    assert json.loads((world.folder / "out/verdict.json").read_text())["acknowledged"] == 10
    world.store.records.pop()
    assert await world.run("verify", **READ, ledgers=ledgers) == 1


async def test_verify_without_a_success_is_undecided(world: World) -> None:
    (world.folder / "l").write_text("")
    assert await world.run("verify", **READ, ledgers=[str(world.folder / "l")]) == 3


async def test_records_and_provision(world: World) -> None:
    world.store.records.append({"id": "a", "startedAt": "2026-02-01T00:00:00Z"})
    assert await world.run("records", since=READ["since"]) == 0
    assert [one["id"] for one in json.loads((world.folder / "out/records.json").read_text())] == ["a"]
    assert await world.run("records", since=READ["since"], call_ids=["x"], patience=0.1) == 0
    assert await world.run("provision", queues={"sales": ["1001"]}) == 0
    secrets = world.folder / "out/secrets.json"
    assert json.loads(secrets.read_text()) == {"1001": "first-1001"}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("values", "error"),
    [({"host": ""}, "host: missing or empty"), ({"colour": "red"}, "colour: unknown field"), ({}, "since: missing")],
)
async def test_a_bad_file_is_refused_with_the_fields_name(
    world: World, capsys: pytest.CaptureFixture[str], values: dict[str, Any], error: str
) -> None:
    assert await world.run("records", **values) == 2
    assert error in capsys.readouterr().err


async def test_a_server_that_is_not_there_is_one_line(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert await world.run("records", **READ, port=1) == 4
    assert capsys.readouterr().err.count("\n") == 1
