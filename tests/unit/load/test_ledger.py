from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from okitoki_load.ledger import CALL, OK, UNKNOWN, Ledger, LedgerError, Operation, read, read_notes

ONE = Operation("a", "w", 1, {"note": "run/w/1"}, 10.0)


async def test_an_intent_is_on_the_disk_when_intend_returns(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl")
    await ledger.intend(ONE)
    (found,) = read([tmp_path / "l.jsonl"])
    assert found == ONE
    assert found.outcome == UNKNOWN
    await ledger.conclude(replace(ONE, outcome=OK, finished=11.5, attempts=2, detail="201"))
    await ledger.close()
    (found,) = read([tmp_path / "l.jsonl"])
    assert (found.outcome, found.latency, found.attempts) == (OK, 1.5, 2)


async def test_intents_made_together_share_a_sync_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = 0

    def count(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1

    monkeypatch.setattr("okitoki_load.ledger.os.fsync", count)
    ledger = Ledger(tmp_path / "l.jsonl")
    await asyncio.gather(*(ledger.intend(replace(ONE, id=str(index))) for index in range(100)))
    await ledger.close()
    assert len(read([tmp_path / "l.jsonl"])) == 100
    assert 1 <= syncs < 10


async def test_a_full_disk_stops_the_intent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("okitoki_load.ledger.os.fsync", full)
    ledger = Ledger(tmp_path / "l.jsonl")
    with pytest.raises(OSError, match="No space"):
        await ledger.intend(ONE)


def test_a_line_cut_short_by_a_crash_is_left_out_but_not_one_in_the_middle(tmp_path: Path) -> None:
    intent = b'{"type":"intent","id":"a","writer":"w","sequence":1,"due":1.0,"body":{}}\n'
    path = tmp_path / "l.jsonl"
    path.write_bytes(intent + b'{"type":"outc')
    assert [op.id for op in read([path])] == ["a"]
    path.write_bytes(b'{"type":"outc\n' + intent)
    with pytest.raises(LedgerError, match="line 1"):
        read([path])


def test_notes_are_beside_the_operations_and_an_unknown_word_is_an_error(tmp_path: Path) -> None:
    intent = b'{"type":"intent","id":"a","writer":"w","sequence":1,"due":1.0,"body":{},"kind":"call"}\n'
    path = tmp_path / "l.jsonl"
    path.write_bytes(b'{"type":"run","worker":0}\n' + intent + b'{"type":"stall","seconds":0.1}\n{"type":"end"}\n')
    (operation,) = read([path])
    assert operation.kind == CALL
    assert [note["type"] for note in read_notes([path], "stall", "end")] == ["stall", "end"]
    path.write_bytes(b'{"type":"gossip"}\n')
    with pytest.raises(LedgerError, match="gossip"):
        read([path])


def test_the_same_intent_twice_is_an_error(tmp_path: Path) -> None:
    intent = b'{"type":"intent","id":"a","writer":"w","sequence":1,"due":1.0,"body":{}}\n'
    (tmp_path / "l.jsonl").write_bytes(intent * 2)
    with pytest.raises(LedgerError, match="second intent"):
        read([tmp_path / "l.jsonl"])
