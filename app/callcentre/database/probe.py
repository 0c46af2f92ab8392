"""Probing the members: one loop for each, so that a frozen one delays none of the others.

A probe is one query on a connection kept for it. How long a member has been silent is counted by the clock and not by
time-outs of sockets: while an old connection still waits (a frozen server answers TCP), new ones are tried beside it,
a bounded number at a time, and the first that answers wins. So a thawed member is seen at once on a waiting connection,
and one whose pod came back elsewhere is seen on a new one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import psycopg

from callcentre.database.cluster import Cluster
from callcentre.database.connection import Connection, fetch_row
from callcentre.database.decisions import Answer, ConnectError
from callcentre.database.members import Member

INTERVAL = 0.25
"""Between two probes of a member (s)."""

IMPATIENCE = 0.5
"""After this much silence (s) another connection is tried beside those that wait."""

PATIENCE = 3.0
"""How long (s) one connection may wait to be opened or answered before it is given up."""

SESSIONS = 3
"""Connections of one member's probe at any time."""

# The timeline as the primary's WAL file names have it: pg_control_checkpoint() would show the one of the last
# checkpoint, which a freshly promoted server has not made yet. The function is an error in recovery; CASE does not
# evaluate it then.
PROBE = """
select pg_is_in_recovery() as in_recovery,
       case when not pg_is_in_recovery() then pg_walfile_name(pg_current_wal_insert_lsn()) end as wal_file,
       extract(epoch from pg_postmaster_start_time())::text as started
"""
ALIVE = "select pid from pg_stat_activity where pid = any(%s)"

log = logging.getLogger(__name__)

Open = Callable[[Member, float], Awaitable[Connection]]


def parse_answer(row: dict[str, object], at: float) -> Answer:
    """The probe's row as an Answer. A WAL file's name begins with its timeline in 8 hexadecimal digits."""
    wal_file = row["wal_file"]
    timeline = int(wal_file[:8], 16) if isinstance(wal_file, str) else None
    return Answer(at, bool(row["in_recovery"]), timeline, str(row["started"]))


class _Session:
    """One connection of a probe, opening or open."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.asking = False
        self.task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End it without a cancel request: while a query runs through its socket, otherwise through its task."""
        if self.connection is not None and self.asking:
            self.connection.abandon()
        elif self.task is not None:
            self.task.cancel()


class MemberProbe:
    """Keeps asking one member and tells the cluster."""

    def __init__(self, member: Member, cluster: Cluster, open_connection: Open) -> None:
        self._member = member
        self._cluster = cluster
        self._open = open_connection
        self._sessions: set[_Session] = set()
        self._progress = time.monotonic()
        """When the member last answered, or another connection to it was begun."""

    async def run(self) -> None:
        """Until cancelled: see that there is a session that answers."""
        try:
            while True:
                now = time.monotonic()
                self._cluster.evaluate(now)
                quiet = now - self._progress
                if not self._sessions or (quiet >= IMPATIENCE and len(self._sessions) < SESSIONS):
                    self._begin(now)
                await asyncio.sleep(INTERVAL)
        finally:
            tasks = [session.task for session in self._sessions if session.task]
            for session in list(self._sessions):
                session.stop()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, now: float) -> None:
        session = _Session()
        self._progress = now
        self._sessions.add(session)
        session.task = asyncio.get_running_loop().create_task(self._session(session))

    async def _session(self, session: _Session) -> None:
        try:
            session.connection = await self._open(self._member, PATIENCE)
            while True:
                answer = await self._ask(session, session.connection)
                self._answered(session, answer)
                await asyncio.sleep(INTERVAL)
        except (ConnectError, psycopg.Error) as error:
            # Of several connections one may fail while another is about to answer: only the last one's failure counts.
            if len(self._sessions) == 1:
                self._cluster.failed(self._member.name, _reason(error))
        finally:
            self._sessions.discard(session)
            if session.connection is not None:
                session.connection.close()

    async def _ask(self, session: _Session, connection: Connection) -> Answer:
        session.asking = True
        watch = asyncio.get_running_loop().call_later(PATIENCE, connection.abandon)
        try:
            sent = time.monotonic()
            row = await fetch_row(connection.raw, PROBE)
            await self._settle_ghosts(connection)
            return parse_answer(row, sent)
        finally:
            watch.cancel()
            session.asking = False

    async def _settle_ghosts(self, connection: Connection) -> None:
        """Find out which backends of abandoned connections have ended."""
        primary = self._cluster.primary
        if primary is None or primary.member != self._member:
            return
        primary.pool.trim(time.monotonic())
        if ghosts := primary.pool.ghosts:
            cursor = await connection.raw.execute(ALIVE, (ghosts,))
            primary.pool.settle([row["pid"] for row in await cursor.fetchall()])

    def _answered(self, session: _Session, answer: Answer) -> None:
        self._progress = time.monotonic()
        self._cluster.answered(self._member.name, answer)
        for other in self._sessions - {session}:
            other.stop()


def _reason(error: Exception) -> str:
    if isinstance(error, psycopg.Error):
        return f"probe failed: {error.sqlstate or 'connection lost'}"
    return str(error)


class Prober:
    """All members' probes."""

    def __init__(self, cluster: Cluster, open_connection: Open) -> None:
        self._probes = [MemberProbe(member, cluster, open_connection) for member in cluster.members]

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as loops:
            for probe in self._probes:
                loops.create_task(probe.run())
