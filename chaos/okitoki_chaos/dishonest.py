"""A server that acknowledges and does not keep: the clients and the checker must catch it, or their verdicts are worth
nothing. Real HTTPS, the real writer, the real checker; no cluster."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import uuid
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

from okitoki_load import checker, ledger
from okitoki_load.client import Api
from okitoki_load.recorder import Schedule
from okitoki_load.writer import Writer

HOST, ADDRESS, NUMBER = "dishonest.test", "127.0.0.1", "+380440000000"
RUN = "self-check"
PER_SECOND, SECONDS = 50.0, 2.0


class Server:
    """Answers 201 to every call record, and keeps all but every `drops`th (0: keeps all)."""

    def __init__(self, drops: int) -> None:
        self._drops = drops
        self._count = 0
        self.kept: dict[str, dict[str, Any]] = {}

    async def post(self, request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        record = {**await request.json(), "id": key}
        self._count += 1
        if not self._drops or self._count % self._drops:
            self.kept[key] = record
        return web.json_response(record, status=201)

    async def list(self, request: web.Request) -> web.Response:
        newest = sorted(self.kept.values(), key=lambda record: str(record["startedAt"]), reverse=True)
        return web.json_response({"items": newest, "next": None})


async def judged(drops: int, folder: Path) -> checker.Verdict:
    """Write to such a server for two seconds, read back, check."""
    authority = trustme.CA()
    (folder / "ca.crt").write_bytes(authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    server = Server(drops)
    application = web.Application()
    application.add_routes([web.post("/v1/call-records", server.post), web.get("/v1/call-records", server.list)])
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, ADDRESS, 0, ssl_context=context)
        await site.start()
        port = int(runner.addresses[0][1])
        return await _write_and_check(port, folder)
    finally:
        await runner.cleanup()


async def _write_and_check(port: int, folder: Path) -> checker.Verdict:
    path = folder / f"ledger-{uuid.uuid4().hex}.jsonl"
    book, clock = ledger.Ledger(path), ledger.Clock()
    async with Api(address=ADDRESS, host=HOST, port=port, ca=folder / "ca.crt", key="none") as api:
        writer = Writer(api, book, run=RUN, name="writer-1", number=NUMBER, clock=clock)
        await writer.write(Schedule(PER_SECOND, clock), asyncio.Event(), SECONDS)
        await book.close()
        stored = [record async for record in api.records("2000-01-01T00:00:00Z")]
    return checker.check(ledger.read([path]), checker.of_run(stored, RUN))


def self_check() -> dict[str, Any]:
    """Whether the honest server passes and both dishonest ones are caught: {passed, found}."""
    with tempfile.TemporaryDirectory() as folder:
        found = {drops: asyncio.run(judged(drops, Path(folder))) for drops in (0, 10, 1)}
    honest, tenth, all_ = found[0], found[10], found[1]
    passed = (
        honest.state == checker.VALID
        and not honest.lost
        and len(tenth.lost) == tenth.acknowledged // 10 > 0
        and len(all_.lost) == all_.acknowledged > 0
    )
    words = {0: "keeps all", 10: "drops every tenth", 1: "keeps nothing"}
    return {
        "passed": passed,
        "found": {
            words[drops]: {"acknowledged": one.acknowledged, "lost": len(one.lost), "state": one.state}
            for drops, one in found.items()
        },
    }


def write_self_check(target: Path) -> int:
    """Do it, print and keep it; 0 when the dishonest were caught."""
    found = self_check()
    target.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(json.dumps(found), flush=True)
    return 0 if found["passed"] else 1
