"""Bounds on requests, and the shape of the log."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from support.asgi_caller import Caller

from callcentre.api.feed import none_match
from callcentre.api.middleware import CLIENT_GONE, AccessLog, Bounds, Departures
from callcentre.logs import JsonFormatter
from callcentre.store.call_records import Cursor


def held_app() -> tuple[FastAPI, asyncio.Event]:
    """An app whose requests wait for the event."""
    app, gate = FastAPI(), asyncio.Event()

    @app.get("/held")
    async def held() -> str:
        await gate.wait()
        return "done"

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    app.add_middleware(Bounds, body_limit=10, requests_held=2)
    return app, gate


async def test_requests_past_the_bound_are_refused_and_probes_are_not() -> None:
    app, gate = held_app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        held = [asyncio.create_task(client.get("/held")) for _ in range(2)]
        await asyncio.sleep(0.05)
        refused = await client.get("/held")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await client.get("/healthz")).status_code == 200
        gate.set()
        assert {reply.status_code for reply in await asyncio.gather(*held)} == {200}
        assert (await client.get("/held")).status_code == 200


async def test_a_body_of_the_bounds_size_passes_and_one_byte_more_does_not() -> None:
    app, _ = held_app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        assert (await client.post("/body", content=b"x" * 10)).json() == 10
        assert (await client.post("/body", content=b"x" * 11)).status_code == 413


def departing_app() -> tuple[FastAPI, list[str]]:
    """An app that says what became of its requests."""
    app, ends = FastAPI(), []

    async def waiting(seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            ends.append("ended")
            raise
        ends.append("done")

    @app.get("/short")
    async def short() -> str:
        await waiting(0.01)
        return "done"

    @app.get("/long")
    async def long() -> str:
        await waiting(30)
        return "done"

    @app.post("/body")
    async def body(request: Request) -> str:
        read = await request.body()
        await waiting(0.01 if read == b"short" else 30)
        return read.decode()

    app.state.services = SimpleNamespace(draining=False)
    app.add_middleware(AccessLog)
    app.add_middleware(Departures)
    return app, ends


@pytest.mark.parametrize(("path", "body"), [("/long", b""), ("/body", b"long")])
async def test_a_request_ends_when_its_client_leaves(path: str, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    app, ends = departing_app()
    caller = Caller(app, path, body)
    calling = asyncio.create_task(caller.call())
    await asyncio.sleep(0.1)
    assert not calling.done()
    caplog.set_level(logging.INFO, "callcentre.access")
    caller.leave()
    await asyncio.wait_for(calling, 10)
    assert (ends, caller.sent) == (["ended"], [])
    assert [vars(record)["status"] for record in caplog.records] == [CLIENT_GONE]


@pytest.mark.parametrize(("path", "body"), [("/short", b""), ("/body", b"short")])
async def test_the_end_of_an_answer_is_no_departure(path: str, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    app, ends = departing_app()
    caplog.set_level(logging.INFO, "callcentre.access")
    caller = Caller(app, path, body)
    await asyncio.wait_for(caller.call(), 10)
    assert (ends, caller.sent[0]["status"]) == (["done"], 200)
    assert [vars(record)["status"] for record in caplog.records] == [200]


async def test_a_request_of_the_servers_own_end_is_cancelled_as_ever() -> None:
    app, ends = departing_app()
    calling = asyncio.create_task(Caller(app, "/long").call())
    await asyncio.sleep(0.1)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert ends == ["ended"]


def test_a_log_line_is_one_json_object_with_what_was_passed_and_the_traceback() -> None:
    try:
        raise ValueError("broken\nin two lines")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "event %d", (7,), sys.exc_info(), extra={"member": "postgres-0"}
        )
    line = JsonFormatter().format(record)
    entry = json.loads(line)
    assert "\n" not in line
    assert (entry["level"], entry["message"], entry["member"]) == ("error", "event 7", "postgres-0")
    assert "ValueError" in entry["traceback"]


def test_if_none_match() -> None:
    assert none_match('"a"', '"a"')
    assert none_match('"b", W/"a"', '"a"')
    assert none_match("*", '"a"')
    assert not none_match('"b"', '"a"')
    assert not none_match(None, '"a"')


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC)), st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_a_cursor_survives_the_url(moment: datetime, record_id: str) -> None:
    cursor = Cursor(moment, record_id)
    decoded = Cursor.decode(cursor.encode())
    assert decoded.id == record_id
    assert decoded.started_at == moment


@given(st.text())
@settings(deadline=None)
def test_any_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        Cursor.decode(text)
