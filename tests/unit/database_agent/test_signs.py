"""What moves on real servers: nothing on one that was killed during pg_rewind, something on all that get on."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.postgres import PASSWORD, Cluster, Server, eventually, server_user, throw_away_cluster

from okitoki_agents import procfs
from okitoki_agents.database import standstill
from okitoki_agents.database.local import LocalServer
from okitoki_agents.database.signs import parse_control, read_signs
from okitoki_agents.database.standstill import Standstill, watch

FOLLOWS = "host=127.0.0.1 port={port} user=superuser password={password}"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with throw_away_cluster() as found:
        yield found


def local(server: Server) -> LocalServer:
    return LocalServer(server.conninfo(host=str(server.directory)), server.data)


def owned(path: Path) -> None:
    if user := server_user():
        shutil.chown(path, user.pw_uid, user.pw_gid)


def follow(server: Server, primary: Server, **settings: str) -> None:
    """Start a server as Patroni starts a standby, and do not wait until it answers."""
    signal = server.data / "standby.signal"
    signal.touch()
    owned(signal)
    settings |= {"primary_conninfo": FOLLOWS.format(port=primary.port, password=PASSWORD)}
    with (server.data / "postgresql.conf").open("a") as configuration:
        configuration.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    server.start(wait=False)


def half_rewound(cluster: Cluster) -> tuple[Server, Server]:
    """An old primary with WAL of its own, and the new one, from which it has been rewound by half.

    pg_rewind first removes what the source does not have, WAL files too, then copies files, and writes the control file
    last of all (pg_rewind.c, perform_rewind): the old one still names a checkpoint in a file that is gone.
    """
    old = cluster.primary()
    new = cluster.standby(old)
    new.promote()
    old.sql("create table lost as select n, repeat('x', 1000) as text from generate_series(1, 40000) as n")
    old.stop("fast")
    theirs = {file.name for file in (new.data / "pg_wal").iterdir() if file.is_file()}
    for file in (old.data / "pg_wal").iterdir():
        if file.is_file() and file.name not in theirs:
            file.unlink()
    for name in theirs:
        shutil.copy(new.data / "pg_wal" / name, old.data / "pg_wal" / name)
        owned(old.data / "pg_wal" / name)
    return old, new


async def looked(server: Server, before: Standstill | None = None) -> Standstill:
    return watch(before, await read_signs(local(server)), time.monotonic())


async def test_a_server_killed_during_its_rewind_stands_still_although_it_runs(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standstill, "SETTLED_SECONDS", 1.0)
    old, new = half_rewound(cluster)
    follow(old, new)
    log = old.data / "log"
    eventually(lambda: "is not in this server's history" in log.read_text(), "it asks for WAL that nobody has")
    with pytest.raises(psycopg.OperationalError, match="starting up"):
        old.sql("select 1")
    found = await looked(old)
    for _ in range(100):
        await asyncio.sleep(0.2)
        found = await looked(old, found)
        if time.monotonic() - found.since > 3.0:
            break
    assert time.monotonic() - found.since > 3.0
    assert found.signs.work, "it works all the time: it looks for the same files"
    assert "segment" in found.furthest


async def test_a_standby_that_answers_nothing_and_receives_is_seen_to_get_on(cluster: Cluster) -> None:
    primary = cluster.primary()
    standby = cluster.standby(primary)
    standby.stop("fast")
    follow(standby, primary, hot_standby="off")
    found = await looked(standby)
    for _ in range(3):
        before = found
        primary.sql("create table if not exists t (n int)")
        primary.sql("insert into t select generate_series(1, 1000)")
        for _ in range(100):
            found = await looked(standby, found)
            if found.since > before.since:
                break
            await asyncio.sleep(0.1)
        assert found.since > before.since
    assert "received" not in found.furthest, "it answers no query"


async def test_a_clone_is_seen_to_grow(tmp_path: Path) -> None:
    server = LocalServer("host=/nowhere", tmp_path)
    (tmp_path / "base/1").mkdir(parents=True)
    before = watch(None, await read_signs(server), 0.0)
    (tmp_path / "base/1/16384").write_bytes(b"x" * 8192)
    assert watch(before, await read_signs(server), 1.0).since == 1.0


async def test_a_program_that_works_on_the_directory_is_seen(tmp_path: Path) -> None:
    """Such as pg_rewind, which writes into files that are there already."""
    loop = f"import time\nwhile True: open({str(tmp_path / 'x')!r}, 'r+').write('x'); time.sleep(0.01)"
    (tmp_path / "x").write_text("y")
    process = await asyncio.create_subprocess_exec("python3", "-c", loop, str(tmp_path))
    try:
        server = LocalServer("host=/nowhere", tmp_path)
        before = await read_signs(server)
        await asyncio.sleep(0.5)
        after = await read_signs(server)
        [(one, (age, done))] = after.work.items()
        assert one[0] == process.pid
        assert 0.3 < age < 60
        assert one not in before.work or done > before.work[one][1]
    finally:
        process.kill()
        await process.wait()


async def test_nothing_is_seen_of_a_directory_that_is_not_there(tmp_path: Path) -> None:
    found = await read_signs(LocalServer("host=/nowhere", tmp_path / "gone"))
    assert (dict(found.positions), found.bytes, dict(found.work)) == ({}, 0, {})


def test_positions_of_the_control_file() -> None:
    text = (
        "Database cluster state:               shut down\n"
        "Latest checkpoint location:           1/72B5360\n"
        "Latest checkpoint's REDO location:    0/72B5360\n"
        "Minimum recovery ending location:     0/0\n"
    )
    assert parse_control(text) == {"checkpoint": (1 << 32) + 0x72B5360, "consistent": 0}
    assert parse_control("pg_controldata: error: could not open file\n") == {}


def test_a_process_that_is_gone_tells_nothing() -> None:
    assert (procfs.title(2**22 + 1), procfs.io(2**22 + 1), procfs.age(2**22 + 1)) == ("", None, None)
