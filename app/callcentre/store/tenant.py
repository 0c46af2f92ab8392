"""What the platform says of the tenant, and the routing feed made of everything configured."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from psycopg.rows import DictRow

from callcentre.database.connection import Database, fetch_row
from callcentre.store.changes import NotFoundError, RestrictedError, change

_ROUTES = """
select (select version from configuration) as version,
       coalesce((select json_agg(json_build_object('number', number, 'queue', queue) order by number) from numbers),
                '[]') as numbers,
       coalesce((select json_object_agg(name, agents order by name) from (
                    select name, array(select agent from queue_agents where queue = name order by position) as agents
                    from queues) as membership),
                '{}') as queues,
       coalesce((select json_agg(json_build_object('username', username, 'ha1', ha1) order by username) from agents),
                '[]') as agents
"""


async def put_tenant(
    session: Database, name: str, display_name: str, numbers: Sequence[tuple[str, str]], *, restricted: bool
) -> None:
    """Make the tenant what the platform says: `numbers` are (number, queue); others are removed, queues are created.
    `restricted`: operators get no login."""
    called = [number for number, _ in numbers]
    queues = [queue for _, queue in numbers]
    async with change(session):
        await session.execute(
            "insert into tenant (name, display_name, restricted) values (%s, %s, %s)"
            " on conflict (singleton) do update set name = excluded.name, display_name = excluded.display_name,"
            " restricted = excluded.restricted",
            (name, display_name, restricted),
        )
        await session.execute(
            "insert into queues (name) select distinct unnest(%s::text[]) on conflict (name) do nothing", (queues,)
        )
        await session.execute("delete from numbers where number <> all(%s)", (called,))
        await session.execute(
            "insert into numbers (number, queue) select * from unnest(%s::text[], %s::text[])"
            " on conflict (number) do update set queue = excluded.queue",
            (called, queues),
        )


async def get_tenant(session: Database) -> DictRow:
    """Raises NotFoundError until the platform has said something."""
    cursor = await session.execute(
        "select name, display_name, restricted, coalesce((select json_agg(json_build_object('number', number,"
        " 'queue', queue) order by number) from numbers), '[]') as numbers from tenant"
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError("the tenant's configuration")
    return row


async def demand_operators_access(session: Database) -> None:
    """In the transaction that makes a login. Raises RestrictedError while operators are to have none."""
    cursor = await session.execute("select restricted from tenant")
    row = await cursor.fetchone()
    if row is not None and row["restricted"]:
        raise RestrictedError(
            "the service has restricted this company: operators get no login; nothing was changed, the company's"
            " data can be read and configured as before, ask the service to lift the restriction"
        )


async def list_numbers(session: Database) -> list[DictRow]:
    return await (await session.execute("select number, queue from numbers order by number")).fetchall()


async def configuration_version(session: Database) -> UUID:
    """Another value after every change; never the same again, also not on another timeline."""
    row = await fetch_row(session, "select version from configuration")
    return UUID(str(row["version"]))


async def read_routes(session: Database) -> DictRow:
    """`version`, `numbers`, `queues`, `agents` of one moment (one statement, so one snapshot)."""
    return await fetch_row(session, _ROUTES)
