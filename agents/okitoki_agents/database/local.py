"""The database server of this pod: asked over its Unix socket, and cut off from its primary by signals.

The agent runs as the same user in the same process namespace, so it needs no right that the server does not have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import LiteralString

import aiohttp
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from okitoki_agents import procfs
from okitoki_agents.database.decisions import Local, Position

CONNINFO = "host=/var/run/postgresql user=postgres dbname=postgres"
DATA = Path("/var/lib/postgresql/data/pgdata")
QUERY_SECONDS = 1.0
PAUSE_SECONDS = 1.0
"""How long replay may take to reach the pause: it is looked for between two records and while it waits for more."""
ENDING_SECONDS = 1.0
POLL_SECONDS = 0.01
SSL_REQUEST = struct.pack("!II", 8, 80877103)
# In the titles of the postmaster's children: `postgres: CLUSTER: walreceiver streaming 0/60F7930`.
RECEIVER, STARTUP = ": walreceiver", ": startup"
PATRONI = "patroni /etc/patroni"
PATRONI_URL = "http://127.0.0.1:8008/liveness"

Session = psycopg.AsyncConnection[tuple[object, ...]]

log = logging.getLogger(__name__)


class CutError(Exception):
    """The stream could not be cut for certain; one sentence."""


class LocalServer:
    """The server beside the agent; `conninfo` names the folder of its Unix socket."""

    def __init__(self, conninfo: str = CONNINFO, data: Path = DATA) -> None:
        self._conninfo = make_conninfo(conninfo, application_name="okitoki-agent")
        parameters = conninfo_to_dict(conninfo)
        self._socket = Path(str(parameters["host"])) / f".s.PGSQL.{parameters.get('port') or 5432}"
        self.data = data

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        """A new connection: it is made by the postmaster as it is now, not by a backend that may lag behind."""
        async with asyncio.timeout(QUERY_SECONDS):
            connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        try:
            yield connection
        finally:
            await connection.close()

    async def _ask(self, query: LiteralString) -> object | None:
        """The one value that a query returns; None when there is none, or no answer in time."""
        row = await self._row(query)
        return row[0] if row else None

    async def _row(self, query: LiteralString) -> tuple[object, ...] | None:
        """The one row that a query returns; None when there is none, or no answer in time."""
        try:
            async with asyncio.timeout(QUERY_SECONDS), self._session() as session:
                return await (await session.execute(query)).fetchone()
        except (psycopg.Error, OSError, TimeoutError):
            return None

    async def in_recovery(self) -> bool | None:
        """Whether it is a standby; None when it does not answer."""
        found = await self._ask("select pg_is_in_recovery()")
        return None if found is None else bool(found)

    async def is_primary(self) -> bool:
        """Whether it answers as a primary. One that is set up as a standby is none (PostgreSQL manual, 26.2.2: the file
        goes when it is promoted) and is not asked: a connection every two seconds costs more than all probes."""
        return not (self.data / "standby.signal").exists() and await self.in_recovery() is False

    async def streams(self) -> bool:
        """Whether it is a standby that streams."""
        return await self._ask("select true from pg_stat_wal_receiver where status = 'streaming'") is True

    async def wal(self) -> tuple[int, int]:
        """How much WAL it has received and replayed (bytes); zeros when it does not answer or is no standby."""
        row = await self._row(
            """
            select coalesce(pg_last_wal_receive_lsn() - '0/0', 0)::bigint,
                   coalesce(pg_last_wal_replay_lsn() - '0/0', 0)::bigint
            """
        )
        return (int(str(row[0])), int(str(row[1]))) if row else (0, 0)

    async def cut(self) -> Position:
        """Cut the stream from the primary and make sure that none begins; returns what the server has then.

        Raises CutError; then nothing is certain.

        Replay is paused first, so that the startup process is stopped at a place where it holds no lock. Paused, it
        asks for no stream; but Patroni ends a pause within its loop, hence the SIGSTOP. A walreceiver that was asked
        for before is there once the postmaster has accepted two connections (its main loop starts one between them).
        """
        try:
            async with asyncio.timeout(PAUSE_SECONDS + ENDING_SECONDS), self._session() as session:
                startup = await self._pause(session)
                os.kill(startup, signal.SIGSTOP)
                await self._until("the startup process to stop", lambda: _stopped(startup))
                for _ in range(2):
                    await self._knock()
                await self._until("the walreceiver to end", self._end_receivers)
                await asyncio.sleep(POLL_SECONDS)
                await self._until("the walreceiver to end", self._end_receivers)
                position = await self._position(session)
                if not _stopped(startup):
                    raise CutError("the startup process runs again")
                return position
        except TimeoutError:
            raise CutError("the server here was too slow") from None
        except (psycopg.Error, OSError) as error:
            raise CutError(f"the server here does not answer: {_short(error)}") from error

    async def _knock(self) -> None:
        """Have the postmaster accept a connection. Its child answers the question for encryption (PostgreSQL manual,
        55.2.10) before anything that costs time. Raises OSError."""
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(SSL_REQUEST)
            if not await reader.read(1):
                raise OSError("the server here closes a new connection")
        finally:
            writer.close()

    async def _pause(self, session: Session) -> int:
        query = """
            select pid, case when pg_is_in_recovery() then pg_wal_replay_pause()::text end
            from pg_stat_activity where backend_type = 'startup'
        """
        row = await (await session.execute(query)).fetchone()
        if row is None or row[1] is None:
            raise CutError("the server here is no standby")
        startup = int(str(row[0]))
        if _stopped(startup):  # of an earlier cut
            return startup
        while True:
            row = await (await session.execute("select pg_get_wal_replay_pause_state()")).fetchone()
            if row == ("paused",):
                return startup
            await asyncio.sleep(POLL_SECONDS)

    async def _position(self, session: Session) -> Position:
        """The walreceiver has written and synced what it got before it ended (walreceiver.c, WalRcvDie).

        The timeline is that of the WAL files: with the receiver gone the server tells only the one that it replays,
        which lags. A standby has files of a timeline once it has received some of it.
        """
        query = """
            select max(('x' || substr(name, 1, 8))::bit(32)::int),
                   greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn
            from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'
        """
        row = await (await session.execute(query)).fetchone()
        if row is None or row[0] is None or row[1] is None:
            raise CutError("the server here does not know how much WAL it has")
        return Position(int(str(row[0])), int(str(row[1])))

    async def checkpoint(self, seconds: float) -> None:
        """Write a checkpoint, so that a stop or a rewind has little left to do. Best effort."""
        with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
            async with asyncio.timeout(seconds), self._session() as session:
                await session.execute("checkpoint")

    def _end_receivers(self) -> bool:
        left = self._children(RECEIVER)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return not left

    async def _until(self, what: str, done: Callable[[], bool]) -> None:
        for _ in range(round(ENDING_SECONDS / POLL_SECONDS)):
            if done():
                return
            await asyncio.sleep(POLL_SECONDS)
        raise CutError(f"waited in vain for {what}")

    async def enforce(self) -> None:
        """End a walreceiver that should not be there while the stream is cut."""
        if not self._end_receivers():
            log.error("a stream had begun although it was cut; ended")

    async def state(self, *, upstream: bool) -> Local:
        """What decides whether a fence may be lifted. `upstream`: whether a running server is asked for that too."""
        startup = self._children(STARTUP)
        found = procfs.process(startup[0]) if startup else None
        if found is None:
            return Local(self.postmaster() is not None, self._configured_upstream(), promoting=False, stopping=False)
        return Local(
            running=True,
            upstream=await self._upstream() if upstream else None,
            promoting=found.waits(signal.SIGUSR2),
            stopping=found.waits(signal.SIGTERM) or found.waits(signal.SIGQUIT),
        )

    async def resume(self) -> None:
        """Let the startup process go on, and replay with it."""
        self.let_go()
        await self._ask("select pg_wal_replay_resume() where pg_is_in_recovery()")

    def let_go(self) -> None:
        """SIGCONT to the startup process."""
        for pid in self._children(STARTUP):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _children(self, title: str) -> list[int]:
        postmaster = self.postmaster()
        return list(procfs.titled(title, postmaster)) if postmaster is not None else []

    def postmaster(self) -> int | None:
        """The postmaster's pid, from its pid file, if it lives."""
        pid = procfs.named(self.data / "postmaster.pid")
        return pid if pid is not None and procfs.process(pid) else None

    async def _upstream(self) -> str | None:
        found = await self._ask("select setting from pg_settings where name = 'primary_conninfo'")
        return None if found is None else host_of(str(found))

    def _configured_upstream(self) -> str | None:
        try:
            text = (self.data / "postgresql.conf").read_text()
        except OSError:
            return None
        found = re.findall(r"^\s*primary_conninfo\s*=\s*'((?:[^']|'')*)'", text, re.MULTILINE)
        return host_of(found[-1].replace("''", "'")) if found else None

    async def patroni_answers(self) -> bool:
        """Whether Patroni's REST API says that its loop runs."""
        timeout = aiohttp.ClientTimeout(total=QUERY_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(PATRONI_URL) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def kill_patroni(self) -> None:
        """SIGKILL to Patroni: its container ends with it, the server too, and starts anew."""
        for pid in procfs.titled(PATRONI):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def host_of(conninfo: str) -> str | None:
    """The host of a connection string (libpq's keywords), None when it names none."""
    try:
        host = conninfo_to_dict(conninfo).get("host")
    except psycopg.Error:
        return None
    return str(host) if host else None


def _stopped(pid: int) -> bool:
    found = procfs.process(pid)
    return found is not None and found.state == "T"


def _short(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
