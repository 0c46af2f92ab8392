"""Phones' registrations across the loss of both nodes.

Kamailio keeps them in memory and writes them to a SQLite file in the pod's run directory, which is memory too: a disk
that hangs must not hold a call. The agent copies that file to the node's folder every few seconds, and a Kamailio that
starts without it takes the copy up. What is lost is what was registered since the last copy, at most.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from pathlib import Path

from okitoki_agents.edge.facts import Paths

log = logging.getLogger(__name__)

LOCATION_VERSION = 9
"""Version of usrloc's table that Kamailio 6.0 asks table `version` for."""
_PATIENCE = 1.0
"""Seconds to wait for a lock of Kamailio's."""
_SCHEMA = f"""
create table version (table_name varchar(32) primary key, table_version integer not null);
insert into version values ('location', {LOCATION_VERSION});
create table location (
    id integer primary key not null, ruid varchar(64) not null default '' unique,
    username varchar(64) not null default '', domain varchar(64), contact varchar(512) not null default '',
    received varchar(128), path varchar(512), expires timestamp not null default '2030-05-28 21:32:15',
    q real not null default 1.0, callid varchar(255) not null default '', cseq integer not null default 1,
    last_modified timestamp not null default '2000-01-01 00:00:01', flags integer not null default 0,
    cflags integer not null default 0, user_agent varchar(255) not null default '', socket varchar(64),
    methods integer, instance varchar(255), reg_id integer not null default 0, server_id integer not null default 0,
    connection_id integer not null default 0, keepalive integer not null default 0,
    partition integer not null default 0);
"""


def prepare(paths: Paths) -> str:
    """The file that Kamailio is to start with: the one of an earlier Kamailio of this pod, else the copy on disk, else
    an empty one. Returns which, for the log. A file that is not sound is never a reason not to start."""
    live = paths.live_registrations
    if sound(live):
        return "this pod's"
    live.parent.mkdir(parents=True, exist_ok=True)
    _remove(live)
    if sound(paths.registrations):
        with _open(paths.registrations) as copy, _open(live) as fresh:
            copy.backup(fresh)
        return "the copy on disk"
    _create(live)
    return "none"


def keep(paths: Paths) -> bool:
    """Copy the registrations to disk, whole or not at all; False when there are none to copy. Raises OSError and
    sqlite3.Error; the copy before stays then."""
    if not paths.live_registrations.exists():
        return False
    target = paths.registrations
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    _remove(new)
    with _open(paths.live_registrations) as live, _open(new) as copy:
        live.backup(copy)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(new, target)
    return True


def sound(path: Path) -> bool:
    """Whether the file can be loaded by this Kamailio."""
    if not path.exists():
        return False
    try:
        with _open(path) as file:
            [(verdict,)] = file.execute("pragma quick_check(1)").fetchall()
            found = file.execute("select table_version from version where table_name = 'location'").fetchall()
            file.execute("select ruid, received, partition from location limit 1").fetchall()
    except sqlite3.Error as error:
        log.warning("registrations in %s are passed over: %s", path, error)
        return False
    return bool(verdict == "ok" and found == [(LOCATION_VERSION,)])


def _open(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE))


def _create(path: Path) -> None:
    with _open(path) as file:
        file.executescript(_SCHEMA)


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
