"""Agents and callers that Locust drives, against a SIP server on loopback, beside API users."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.postgres import free_port
from unit.load.doubles import KEY, Store, certificate
from unit.locust.world import NUMBER, Locust
from unit.phones.doubles import Server

pytestmark = pytest.mark.timeout(180)
AGENT = {"1001": "secret-1001"}


class World:
    """A SIP server, an API that has a record of each call that was set up, and Locust."""

    def __init__(self, sip: Server, port: int, store: Store, locust: Locust, folder: Path) -> None:
        self.sip, self.store, self.locust = sip, store, locust
        secrets = folder / "secrets.json"
        secrets.write_text(json.dumps(AGENT))
        self._arguments = (
            *("-u", "3", "-r", "10", "-t", "9s", "--agents", "1", "--callers", "1", "--sip", f"127.0.0.1:{port}"),
            *("--trunk", f"127.0.0.1:{free_port()}", "--agents-file", str(secrets)),
            *("--call-every", "2.5", "--talk", "0.3:0.6", "--patience", "2", "--rate", "2"),
        )
        self.records = True

    async def run(self, *arguments: str) -> int:
        keeping = asyncio.create_task(self._keep_records())
        try:
            return await self.locust.run(*self._arguments, *arguments)
        finally:
            keeping.cancel()

    async def _keep_records(self) -> None:
        known: set[str] = set()
        while self.records:
            for call_id in set(self.sip.relays) - known:
                known.add(call_id)
                at = datetime.now(UTC).isoformat(timespec="milliseconds")
                self.store.records.append({"id": call_id, "startedAt": at, "callId": call_id, "number": NUMBER})
            await asyncio.sleep(0.1)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    context, _ = certificate(folder)
    store = Store()
    runner, port = await store.start(context)
    sip = Server(AGENT)
    _, sip_port = await sip.start()
    files = ("locustfile.py", "locustfile_sip.py")
    locust = Locust(folder, port=port, key=KEY, files=files)
    try:
        yield World(sip, sip_port, store, locust, folder)
    finally:
        await locust.close()
        sip.close()
        await runner.cleanup()


async def test_calls_are_set_up_heard_both_ways_and_judged_beside_the_writes(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert await here.run() == 0, here.locust.said()
        found = here.locust.report()
    calls = found["calls"]
    assert calls["setUp"] >= 2
    assert calls["dropped"] == 0
    assert set(calls["failedWith"]) <= {"486 Busy Here"}  # one agent, and calls that overlap on a slow machine
    assert calls["intended"] == calls["attempted"]
    assert calls["longestAudioGapMs"]["toAgent"] > 0
    assert calls["longestAudioGapMs"]["toCaller"] > 0
    assert calls["records"] == {"expected": calls["setUp"], "missing": [], "repeated": []}
    assert found["writes"]["acknowledged"] > 0
    assert {(gap["protocol"], gap["operation"]) for gap in found["gaps"]} >= {("https", "write"), ("sip", "INVITE")}
    shown = here.locust.said()
    assert all(name in shown for name in ("REGISTER", "INVITE", "longest gap to agent", "longest gap to caller"))


async def test_a_direction_that_is_muted_is_caught(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.sip.to_agent = lambda data: None
        assert await here.run() == 1
        found = here.locust.report()
    assert found["calls"]["dropped"] == found["calls"]["setUp"] > 0
    assert any("no audio at all" in failure for failure in found["failures"])


async def test_an_answered_call_without_a_record_is_caught(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.records = False
        assert await here.run() == 1
        found = here.locust.report()
    assert len(found["calls"]["records"]["missing"]) == found["calls"]["setUp"] > 0


async def test_a_trunk_address_that_cannot_be_had_is_no_result(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert await here.run("--trunk", "192.0.2.1:5060") in {1, 3}
        assert here.locust.report()["calls"]["setUp"] == 0
        assert "phones' process did not start" in here.locust.said()
