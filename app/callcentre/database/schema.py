"""Keeps the schema of the current primary right: at start, and again on every new primary.

The check is repeated because a migration, too, may be lost: one whose commit was never replicated is gone after a
failover.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

import psycopg

from callcentre.database.cluster import Cluster, Primary
from callcentre.database.connection import Database as Session
from callcentre.database.connection import Login
from callcentre.database.members import Member
from callcentre.database.resolver import Resolver
from callcentre.database.runner import Database, Deadline, UnavailableError
from callcentre.migrations import known_revisions

MIGRATION_LIMIT = 120.0
"""How long (s) one run may take, waiting for another app's run included."""
RETRY = 1.0

log = logging.getLogger(__name__)


class SchemaState(Enum):
    READY = "ready"
    BEHIND = "behind"


@dataclass(frozen=True)
class SchemaCheck:
    state: SchemaState
    reason: str


def judge(revision: str | None, known: list[str]) -> SchemaCheck:
    """Whether a database at `revision` (None: empty) can be used by an app that knows `known`, oldest first."""
    if revision is None:
        return SchemaCheck(SchemaState.BEHIND, "the database is empty")
    if revision == known[-1]:
        return SchemaCheck(SchemaState.READY, f"at revision {revision}")
    if revision in known:
        return SchemaCheck(SchemaState.BEHIND, f"at revision {revision}, {known[-1]} is needed")
    return SchemaCheck(SchemaState.READY, f"at revision {revision}, made by a newer version of the app")


async def read_revision(session: Session) -> str | None:
    """The database's revision, or None when it has none."""
    cursor = await session.execute("select to_regclass('alembic_version') is not null as present")
    row = await cursor.fetchone()
    if row is None or not row["present"]:
        return None
    cursor = await session.execute("select version_num from alembic_version")
    row = await cursor.fetchone()
    return None if row is None else str(row["version_num"])


async def migrate(member: Member, login: Login, address: str) -> None:
    """Run `python -m callcentre.migrations` against the member; killed when it takes too long or this task is
    cancelled.

    Raises RuntimeError with the last line of its standard error.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PGHOST": member.host,
        "PGHOSTADDR": address,
        "PGPORT": str(member.port),
        "PGDATABASE": login.database,
        "PGUSER": login.user,
        "PGPASSWORD": login.password,
        "PGOPTIONS": "-c synchronous_commit=on -c statement_timeout=0 -c timezone=UTC",
        "PGAPPNAME": "callcentre-migrations",
        "PGCONNECT_TIMEOUT": "5",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "callcentre.migrations",
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(MIGRATION_LIMIT):
            _, errors = await process.communicate()
    except TimeoutError:
        raise RuntimeError(f"migrations did not end within {MIGRATION_LIMIT:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"migrations failed: {lines[-1] if lines else f'exit code {process.returncode}'}")


class SchemaKeeper:
    """`migrated` turns true when a primary has the schema and `prepare` (seeding) has run on it."""

    def __init__(
        self,
        cluster: Cluster,
        database: Database,
        login: Login,
        resolver: Resolver,
        prepare: Callable[[], Awaitable[None]],
    ) -> None:
        self._cluster = cluster
        self._database = database
        self._login = login
        self._resolver = resolver
        self._prepare = prepare
        self.migrated = False
        self._last_reason = ""

    async def run(self) -> None:
        """Until cancelled. While an app that was ready before checks a new primary, requests go on: the table that is
        missing against all likelihood makes them retry (SQLSTATE 42P01)."""
        checked: Primary | None = None
        while True:
            primary = await self._cluster.wait(3600.0)
            if primary is None or primary is checked:
                await self._cluster.changed(3600.0)
                continue
            try:
                await self._check(primary)
            except (UnavailableError, RuntimeError, OSError, psycopg.Error) as error:
                self._tell("schema not ready", f"{type(error).__name__}: {error}")
                await self._cluster.changed(RETRY)
                continue
            checked = primary
            self.migrated = True

    async def _check(self, primary: Primary) -> None:
        """Migrate when needed, then seed. Raises when the primary does not have the schema after that."""
        for migrated in (False, True):
            verdict = judge(await self._database.run(read_revision, Deadline()), known_revisions())
            self._tell("schema checked", verdict.reason)
            if verdict.state is SchemaState.READY:
                await self._prepare()
                return
            self.migrated = False
            if not migrated:
                address = self._resolver.address(primary.member)
                if address is None:
                    raise RuntimeError(f"{primary.member.name} has no known address")
                await migrate(primary.member, self._login, address)
        raise RuntimeError("the migrations have run, but the primary does not have their result")

    def _tell(self, event: str, reason: str) -> None:
        if reason != self._last_reason:
            log.info(event, extra={"reason": reason})
        self._last_reason = reason
