"""Routes as tables, and their way into a running Kamailio."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from okitoki_agents.edge import kamailio
from okitoki_agents.edge.facts import Paths
from okitoki_agents.edge.kamailio import (
    KamailioError,
    LandlineRoute,
    NumberRoute,
    Routes,
    ensure_tables,
    publish,
    rows,
    table_text,
)

ROUTES = Routes(
    numbers={
        "+380441234568": NumberRoute("acme", "sales", "acme.kyiv.okitoki.test"),
        "+380441234567": NumberRoute("acme", "sales", "acme.kyiv.okitoki.test"),
    },
    queues={("acme", "sales"): ("1001", "1002")},
    ha1={("1001", "acme.kyiv.okitoki.test"): "0" * 32},
    realms={"acme.kyiv.okitoki.test": "acme"},
    landlines={
        "+380441234567": LandlineRoute("acme", "acme.kyiv.okitoki.test", ("+380447654321", "+380447654322")),
    },
)


def test_rows_are_what_the_script_reads() -> None:
    assert rows(ROUTES) == {
        "numbers": {
            "+380441234568": "acme|sales|acme.kyiv.okitoki.test",
            "+380441234567": "acme|sales|acme.kyiv.okitoki.test",
        },
        "queues": {"acme:sales": "1001,1002"},
        "ha1": {"1001@acme.kyiv.okitoki.test": "0" * 32},
        "realms": {"acme.kyiv.okitoki.test": "acme"},
        "callers": {"acme.kyiv.okitoki.test": "+380441234567"},
        "landlines": {"+380441234567": "acme|acme.kyiv.okitoki.test|+380447654321,+380447654322"},
    }


def test_a_table_escapes_the_separator_and_ends_with_its_version() -> None:
    lines = table_text({"acme:sales": "1001,1002"}).splitlines()
    assert lines[0] == "key_name(string) key_type(int) value_type(int) key_value(string) expires(int)"
    assert lines[1] == r"acme\:sales:0:0:1001,1002:0"
    assert lines[2].startswith("#version:0:0:")


def test_the_version_follows_the_content_alone() -> None:
    def version(entries: dict[str, str]) -> str:
        return table_text(entries).splitlines()[-1]

    assert version({"a": "1", "b": "2"}) == version({"b": "2", "a": "1"})
    assert version({"a": "1"}) != version({"a": "2"})


@pytest.mark.parametrize("value", ["", "a\nb", "a\\b"])
def test_what_would_break_a_table_is_refused(value: str) -> None:
    with pytest.raises(KamailioError):
        table_text({"key": value})


def test_tables_exist_before_the_first_route(tmp_path: Path) -> None:
    paths = Paths(data=tmp_path)
    ensure_tables(paths)
    assert sorted(file.name for file in paths.kamailio_tables.iterdir()) == sorted([*kamailio.TABLES, "version"])
    kamailio.write_tables(ROUTES, paths)
    before = (paths.kamailio_tables / "numbers").read_text()
    ensure_tables(paths)
    assert (paths.kamailio_tables / "numbers").read_text() == before


def test_a_table_that_a_new_version_brings_does_not_empty_the_others(tmp_path: Path) -> None:
    """A node that starts on its disk after an upgrade, with no app and no API server to ask, keeps its routes."""
    paths = Paths(data=tmp_path)
    kamailio.write_tables(ROUTES, paths)
    (paths.kamailio_tables / "landlines").unlink()
    before = (paths.kamailio_tables / "numbers").read_text()
    ensure_tables(paths)
    assert (paths.kamailio_tables / "landlines").read_text() == table_text({})
    assert (paths.kamailio_tables / "numbers").read_text() == before


class FakeKamailio:
    """JSON-RPC over a datagram socket; `htable.reload` takes the version that is on disk, but like db_text reads a file
    again only when its time of change, in whole seconds, is another."""

    def __init__(self, paths: Paths) -> None:
        self.paths, self.loaded, self.reloads = paths, dict[str, str](), list[str]()
        self.refuse = self.deaf = False
        self.read_at: dict[str, int] = {}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        paths.kamailio_rpc.parent.mkdir(parents=True, exist_ok=True)
        self.socket.bind(str(paths.kamailio_rpc))

    def serve(self) -> None:
        while True:
            data, client = self.socket.recvfrom(1 << 16)
            if data == b"end":
                return
            self.socket.sendto(json.dumps(self.answer(json.loads(data))).encode(), client)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        table = request["params"][0]
        error = {"jsonrpc": "2.0", "id": request["id"], "error": {"code": 500, "message": "No such key in htable"}}
        if self.refuse:
            return error
        if request["method"] == "htable.reload":
            self.reloads.append(table)
            file = self.paths.kamailio_tables / table
            if not self.deaf and self.read_at.get(table) != int(file.stat().st_mtime):
                self.read_at[table] = int(file.stat().st_mtime)
                self.loaded[table] = file.read_text().splitlines()[-1].split(":")[3]
            return {"jsonrpc": "2.0", "id": request["id"], "result": "ok"}
        if table not in self.loaded:
            return error
        return {"jsonrpc": "2.0", "id": request["id"], "result": {"item": {"value": self.loaded[table]}}}


@pytest.fixture
def paths() -> Iterator[Paths]:
    # Not pytest's folder: the path of a Unix socket may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ot-") as folder:
        yield Paths(run=Path(folder) / "run", data=Path(folder) / "data")


@contextmanager
def running(paths: Paths) -> Iterator[FakeKamailio]:
    fake = FakeKamailio(paths)
    thread = threading.Thread(target=fake.serve)
    thread.start()
    try:
        yield fake
    finally:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"end", str(paths.kamailio_rpc))
        thread.join()
        fake.socket.close()
        paths.kamailio_rpc.unlink()


async def test_publish_loads_only_what_differs(paths: Paths) -> None:
    with running(paths) as fake:
        assert await publish(ROUTES, paths)
        assert sorted(fake.reloads) == sorted(kamailio.TABLES)
        fake.reloads.clear()
        assert await publish(ROUTES, paths)
        assert fake.reloads == []
        more = replace(ROUTES, queues={("acme", "sales"): ("1001",)})
        assert await publish(more, paths)
        assert fake.reloads == ["queues"]


async def test_publish_without_kamailio_leaves_the_tables_on_disk_and_says_so(paths: Paths) -> None:
    assert not await publish(ROUTES, paths)
    assert "acme|sales" in (paths.kamailio_tables / "numbers").read_text()


async def test_a_kamailio_that_started_on_older_tables_is_brought_up_to_date(paths: Paths) -> None:
    assert not await publish(ROUTES, paths)
    with running(paths) as fake:
        fake.loaded = dict.fromkeys(kamailio.TABLES, "older")
        assert await publish(ROUTES, paths)
        assert sorted(fake.reloads) == sorted(kamailio.TABLES)


async def test_a_refusal_is_an_error(paths: Paths) -> None:
    with running(paths) as fake:
        fake.refuse = True
        with pytest.raises(KamailioError, match="No such key"):
            await publish(ROUTES, paths)


async def test_changes_within_one_second_are_all_loaded(paths: Paths) -> None:
    """Seen on a cluster: two tenants' routes changed 150 ms apart, and one node then refused a tenant's phones."""
    with running(paths) as fake:
        for number in range(5):
            changed = Routes(ROUTES.numbers, ROUTES.queues, {("1001", "acme.kyiv.okitoki.test"): f"{number:032x}"})
            assert await publish(changed, paths)
            on_disk = (paths.kamailio_tables / "ha1").read_text().splitlines()[-1].split(":")[3]
            assert fake.loaded["ha1"] == on_disk, number


async def test_a_reload_that_had_no_effect_is_no_success_and_is_tried_again(paths: Paths) -> None:
    with running(paths) as fake:
        fake.deaf = True
        assert not await publish(ROUTES, paths)
        fake.deaf = False
        assert await publish(ROUTES, paths)
