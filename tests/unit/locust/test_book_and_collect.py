"""The greenlets' ledger and how it reaches the master: real files, real sockets; gevent without Locust's patches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket

from okitoki_load.ledger import OK, Operation, read, read_notes
from okitoki_locust import collect
from okitoki_locust.book import Book
from okitoki_locust.collect import Collector, Courier, ends_well

ONE = Operation("a", "w", 1, {"note": "run/w/1"}, 10.0)


def test_an_intent_is_on_the_disk_when_intend_returns_and_many_share_a_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = 0

    def count(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1

    monkeypatch.setattr("okitoki_locust.book.os.fsync", count)
    book = Book(tmp_path / "l.jsonl")
    book.intend(ONE)
    assert read([book.path]) == [ONE]
    assert syncs == 1
    gevent.joinall([gevent.spawn(book.intend, replace(ONE, id=str(index))) for index in range(100)], raise_error=True)
    assert len(read([book.path])) == 101
    assert syncs < 12
    book.conclude(replace(ONE, outcome=OK, finished=11.0))
    book.note("stall", seconds=0.1)
    book.close()
    assert read([book.path])[0].outcome == OK
    assert read_notes([book.path], "stall") == [{"type": "stall", "seconds": 0.1}]


def test_a_full_disk_stops_the_intent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    book = Book(tmp_path / "l.jsonl")
    monkeypatch.setattr("okitoki_locust.book.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        book.intend(ONE)


@pytest.fixture
def collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setattr(collect, "AGAIN_SECONDS", 0.05)
    made = Collector(tmp_path / "master", 0, "127.0.0.1")
    made.expect("run-1")
    yield made
    made.close()


def brought(tmp_path: Path) -> bytes:
    return (tmp_path / "master/run-1/ledger-3.jsonl").read_bytes()


def test_a_ledger_arrives_while_it_grows_and_whole_at_its_end(tmp_path: Path, collector: Collector) -> None:
    book = Book(tmp_path / "own.jsonl")
    courier = Courier(book.path, "run-1", 3, ("127.0.0.1", collector.port))
    book.intend(ONE)
    with gevent.Timeout(5):
        while not (tmp_path / "master/run-1/ledger-3.jsonl").exists() or not brought(tmp_path):
            gevent.sleep(0.02)
    assert not collector.complete({3})
    book.note("end")
    book.close()
    assert courier.finish(5)
    assert brought(tmp_path) == book.path.read_bytes()
    assert collector.complete({3})
    assert not collector.complete({3, 4})


def test_after_a_cut_connection_it_goes_on_where_it_was(tmp_path: Path, collector: Collector) -> None:
    book = Book(tmp_path / "own.jsonl")
    courier = Courier(book.path, "run-1", 3, ("127.0.0.1", collector.port))
    for index in range(20):
        book.intend(replace(ONE, id=str(index)))
        gevent.sleep(0.03)
        if index % 5 == 0:
            for connection in list(collector._connections.values()):
                connection.shutdown(socket.SHUT_RDWR)
    book.close()
    assert courier.finish(10)
    assert brought(tmp_path) == book.path.read_bytes()


@pytest.mark.parametrize(
    "header",
    [
        {"run": "run-2", "worker": 0},
        {"run": "../up", "worker": 0},
        {"run": "run-1", "worker": "../x"},
        {"run": "run-1"},
    ],
)
def test_nothing_is_taken_of_other_runs_or_by_other_names(
    tmp_path: Path, collector: Collector, header: dict[str, Any]
) -> None:
    connection = socket.create_connection(("127.0.0.1", collector.port))
    connection.sendall(json.dumps(header).encode() + b"\nsomething\n")
    assert connection.recv(100) == b""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("text", "good"),
    [('{"type":"end"}\n', True), ('{"type":"end"}', False), ('{"type":"run"}\n', False), ("", False), ("x\n", False)],
)
def test_a_ledger_ends_well_only_with_its_own_word(tmp_path: Path, text: str, good: bool) -> None:
    (tmp_path / "l").write_text(text)
    assert ends_well(tmp_path / "l") is good
    assert not ends_well(tmp_path / "none")
