"""Connections to one member: how they are opened, watched for the lost-commit warning, and abandoned.

psycopg sends a cancel request when a task that waits for the server is cancelled. A cancel that arrives while COMMIT
waits for its synchronous standby makes the server acknowledge a transaction that no other server has. So nothing here
cancels a query: a connection whose answer is not awaited any longer is *abandoned*: its socket is shut down, which
ends the waiting task with a connection error and tells the server nothing until it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from callcentre.database.decisions import ConnectError
from callcentre.database.members import Member
from callcentre.database.resolver import Resolver

# No statement_timeout: it would cancel the wait for synchronous replication (see above), and a role's or database's own
# default must not bring one in. synchronous_commit likewise: durability is not left to a server's configuration.
# A session that is idle inside a transaction waits for nothing but us: an app frozen there must not hold its locks.
_SESSION = {
    "synchronous_commit": "on",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "10000",
    "timezone": "UTC",
}

Database = AsyncConnection[DictRow]
"""What an operation gets: autocommit, rows as dicts, times in UTC."""


@dataclass(frozen=True)
class Login:
    """Who connects to which database. The password stays out of `repr`."""

    database: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login(database={self.database!r}, user={self.user!r})"


async def fetch_row(
    session: Database, statement: str, values: Mapping[str, Any] | Sequence[Any] | None = None
) -> DictRow:
    """The row of a statement that always has one."""
    row = await (await session.execute(statement, values)).fetchone()
    if row is None:
        raise LookupError("a statement that always has a row had none")
    return row


class Connection:
    """One open connection and what was noticed on it."""

    def __init__(self, raw: Database) -> None:
        self.raw = raw
        self.pid = raw.info.backend_pid
        self.commit_warning: str | None = None
        self.abandoned = False
        raw.add_notice_handler(self._notice)

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """Keep the warning of SyncRepWaitForLSN (syncrep.c): 01000 after a cancel, 57P01 after a termination.

        Known by severity and SQLSTATE, not by its text, which the server may translate. None of our statements raises
        another warning with these states; if one did, its operation would count as unknown, which is the safe side.
        """
        if diagnostic.severity_nonlocalized == "WARNING" and diagnostic.sqlstate in ("01000", "57P01"):
            self.commit_warning = diagnostic.message_primary or "warning"

    @property
    def reusable(self) -> bool:
        """Open, idle and outside a transaction."""
        return not self.abandoned and self.raw.pgconn.transaction_status == pq.TransactionStatus.IDLE

    def abandon(self) -> None:
        """Shut the socket down without a cancel request. A task that waits on it ends with OperationalError."""
        self.abandoned = True
        if self.raw.closed:
            return
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.raw.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the connection. Shut down first, so that PQfinish has nothing to say to a frozen server.

        Only when no task waits on it any more. The server ends an idle session on the end of the stream, silently.
        """
        self.abandon()
        self.raw.pgconn.finish()


class Connector:
    """Opens connections to members by their cached addresses."""

    def __init__(self, login: Login, resolver: Resolver, application: str = "callcentre") -> None:
        self._resolver = resolver
        self._parameters: dict[str, str | int] = {
            "dbname": login.database,
            "user": login.user,
            "password": login.password,
            "application_name": application,
            "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
            "client_encoding": "UTF8",
            "gssencmode": "disable",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 6000,
        }

    async def open(self, member: Member, limit: float) -> Connection:
        """Connect within `limit` seconds. Raises ConnectError: nothing was sent then. May be cancelled."""
        address = self._resolver.address(member)
        if address is None:
            raise ConnectError(f"the name {member.host} has not been resolved yet")
        conninfo = make_conninfo("", host=member.host, hostaddr=address, port=member.port, **self._parameters)
        try:
            async with asyncio.timeout(limit):
                pgconn = await _establish(conninfo)
        except TimeoutError:
            raise ConnectError(f"no connection within {limit:.1f} s") from None
        except psycopg.Error as error:
            raise ConnectError(_connect_reason(error)) from None
        raw = AsyncConnection(pgconn, dict_row)
        await raw.set_autocommit(True)
        return Connection(raw)


async def _establish(conninfo: str) -> pq.abc.PGconn:
    """Connect as libpq's manual says (34.1, PQconnectStartParams). Raises psycopg.OperationalError.

    `AsyncConnection.connect` would do, but when it is cancelled its socket stays open until the garbage collector
    comes by: a frozen server collects such clients, and after its thaw spends its connections on them.
    """
    pgconn = pq.PGconn.connect_start(conninfo.encode())
    try:
        while True:
            status = pq.PollingStatus.FAILED if pgconn.status == pq.ConnStatus.BAD else pgconn.connect_poll()
            if status == pq.PollingStatus.OK:
                break
            if status == pq.PollingStatus.FAILED:
                raise psycopg.OperationalError(pgconn.get_error_message())
            await _ready(pgconn.socket, writing=status == pq.PollingStatus.WRITING)
        pgconn.nonblocking = 1
    except BaseException:
        pgconn.finish()
        raise
    return pgconn


async def _ready(descriptor: int, *, writing: bool) -> None:
    """Wait until a socket can be read or written."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(descriptor, tell)
    try:
        await ready
    finally:
        remove(descriptor)


def _connect_reason(error: psycopg.Error) -> str:
    """libpq's last line that is no hint (those are indented): it names the cause."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return lines[-1] if lines else type(error).__name__
