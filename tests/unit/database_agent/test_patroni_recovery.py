"""A former primary that was stopped on its way down comes back: the fault on real servers, and the mend."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.patroni_entry import load
from support.postgres import PASSWORD, Cluster, Server, binaries, eventually, run, server_user, throw_away_cluster

STOPPED = {"Database cluster state": "shut down in recovery", "Minimum recovery ending location": "0/0"}


@pytest.fixture
def main() -> Any:
    """images/postgres/patroni_main.py."""
    return load()[0]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with throw_away_cluster() as found:
        yield found


def diverged(cluster: Cluster) -> tuple[Server, Server]:
    """The old primary, killed with rows that the new one lacks, and the new primary."""
    old = cluster.primary()
    old.stop("fast")
    with (old.data / "postgresql.auto.conf").open("a") as configuration:
        configuration.write("wal_log_hints = on\ncheckpoint_timeout = 1h\nmax_wal_size = 4GB\nwal_keep_size = 1GB\n")
    old.start()
    old.sql("create table proof (word text)")
    new = cluster.standby(old)
    new.promote()
    new.sql("insert into proof values ('acknowledged')")
    old.sql("insert into proof select repeat(md5(i::text), 20) from generate_series(1, 30000) i")
    old.kill()
    return old, new


def follow(old: Server, new: Server) -> None:
    """The configuration of a standby of `new`."""
    run("/bin/touch", old.data / "standby.signal")
    with (old.data / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"primary_conninfo = '{source(new)}'\n")


def source(server: Server) -> str:
    return f"host=127.0.0.1 port={server.port} user=superuser password={PASSWORD} dbname=postgres"


def stop_on_the_way_down(old: Server) -> None:
    """Start it as a standby, and stop it before it has replayed its own WAL."""
    old.start(wait=False)
    startup: list[int] = []

    def seen() -> bool:
        with contextlib.suppress(OSError):
            for process in old.processes()[1:]:
                if b"startup" in Path(f"/proc/{process}/cmdline").read_bytes():
                    os.kill(process, signal.SIGSTOP)
                    startup.append(process)
        return bool(startup)

    eventually(seen, "the startup process")
    os.kill(old.processes()[0], signal.SIGINT)
    os.kill(startup[0], signal.SIGCONT)
    eventually(lambda: not old.running(), "the old primary has stopped")


def controldata(server: Server) -> dict[str, str]:
    told = subprocess.run([binaries() / "pg_controldata", server.data], capture_output=True, text=True, check=True)
    return {key: value.strip() for key, _, value in (line.partition(":") for line in told.stdout.splitlines())}


def rewind(old: Server, new: Server) -> str:
    """What pg_rewind says."""
    user = server_user()
    command = [binaries() / "pg_rewind", "-D", old.data, "--source-server", source(new), "--write-recovery-conf"]
    done = subprocess.run(
        command,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_pg_rewind_takes_it_for_a_standby_with_nothing_of_its_own(main: Any, cluster: Cluster) -> None:
    """Seen on a cluster, after a drain: it never came back. When this no longer holds, the mend is not needed."""
    old, new = diverged(cluster)
    follow(old, new)
    stop_on_the_way_down(old)
    assert main.stopped_on_the_way_down(controldata(old))
    assert "no rewind required" in rewind(old, new)


def test_replayed_to_its_end_first_it_is_rewound_and_follows(main: Any, cluster: Cluster) -> None:
    old, new = diverged(cluster)
    follow(old, new)
    stop_on_the_way_down(old)
    (old.data / "standby.signal").unlink()
    run("/bin/sh", "-c", f"{binaries()}/postgres --single -D {old.data} postgres </dev/null")
    assert not main.stopped_on_the_way_down(controldata(old))
    assert "no rewind required" not in rewind(old, new)
    old.start()
    new.sql("insert into proof values ('later')")
    words = "select word from proof order by word"
    eventually(lambda: old.sql(words) == [("acknowledged",), ("later",)], "it follows, and has nothing else")


@pytest.mark.parametrize(
    ("unlocked", "own", "found", "replays"),
    [
        (False, False, STOPPED, True),
        (False, True, STOPPED, False),
        (True, False, STOPPED, False),
        (False, False, {**STOPPED, "Minimum recovery ending location": "0/5B9D6F0"}, False),
        (False, False, {**STOPPED, "Database cluster state": "shut down"}, False),
        (False, False, {}, False),
    ],
    ids=["led", "it leads itself", "nobody leads", "a standby", "a clean end", "no data"],
)
def test_who_replays_first(main: Any, unlocked: bool, own: bool, found: dict[str, str], replays: bool) -> None:
    member = SimpleNamespace(
        cluster=SimpleNamespace(is_unlocked=lambda: unlocked),
        has_lock=lambda _: own,
        state_handler=SimpleNamespace(controldata=lambda: found),
        _handle_crash_recovery=lambda: "replaying",
    )
    recover: Callable[[Any], str] = main.replay_first(lambda _: "as ever")
    assert recover(member) == ("replaying" if replays else "as ever")


def test_a_replay_that_was_tried_is_not_tried_again(main: Any) -> None:
    member = SimpleNamespace(
        cluster=SimpleNamespace(is_unlocked=lambda: False),
        has_lock=lambda _: False,
        state_handler=SimpleNamespace(controldata=lambda: STOPPED),
        _handle_crash_recovery=lambda: None,
    )
    assert main.replay_first(lambda _: "as ever")(member) == "as ever"
