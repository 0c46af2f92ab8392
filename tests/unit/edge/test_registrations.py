"""Registrations on disk: whole copies, and a start that nothing broken can prevent."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from okitoki_agents.edge import registrations
from okitoki_agents.edge.facts import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(run=tmp_path / "run", data=tmp_path / "data")


def register(paths: Paths, *users: str) -> None:
    file = sqlite3.connect(paths.live_registrations)
    for user in users:
        file.execute("insert into location (ruid, username, contact) values (?, ?, 'sip:a@198.18.1.1')", (user, user))
    file.commit()
    file.close()


def users(path: Path) -> list[str]:
    file = sqlite3.connect(path)
    found = [row[0] for row in file.execute("select username from location order by username")]
    file.close()
    return found


def test_the_first_start_makes_an_empty_file_that_is_sound(paths: Paths) -> None:
    assert registrations.prepare(paths) == "none"
    assert registrations.sound(paths.live_registrations)
    assert users(paths.live_registrations) == []


def test_a_pod_that_lost_its_memory_takes_up_the_copy(paths: Paths) -> None:
    registrations.prepare(paths)
    register(paths, "1001", "1002")
    assert registrations.keep(paths)
    paths.live_registrations.unlink()
    assert registrations.prepare(paths) == "the copy on disk"
    assert users(paths.live_registrations) == ["1001", "1002"]


def test_a_kamailio_that_restarts_in_its_pod_keeps_the_newer_file(paths: Paths) -> None:
    registrations.prepare(paths)
    register(paths, "1001")
    registrations.keep(paths)
    register(paths, "1002")
    assert registrations.prepare(paths) == "this pod's"
    assert users(paths.live_registrations) == ["1001", "1002"]


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0 cut short", b"x" * 5000])
def test_a_broken_file_is_no_reason_not_to_start(paths: Paths, content: bytes) -> None:
    for path in (paths.live_registrations, paths.registrations):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert registrations.prepare(paths) == "none"
    assert registrations.sound(paths.live_registrations)


def test_a_copy_that_fails_leaves_the_one_before(paths: Paths) -> None:
    registrations.prepare(paths)
    register(paths, "1001")
    registrations.keep(paths)
    paths.live_registrations.write_bytes(b"x" * 5000)
    with pytest.raises(sqlite3.Error):
        registrations.keep(paths)
    assert users(paths.registrations) == ["1001"]


def test_nothing_to_copy_yet_is_no_error(paths: Paths) -> None:
    assert not registrations.keep(paths)
    assert not paths.registrations.exists()
