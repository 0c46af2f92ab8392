"""Agents and the queues they are in."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import DictRow

from callcentre.database.connection import Database
from callcentre.store.changes import ConflictError, InvalidReferenceError, NotFoundError, change
from callcentre.store.tenant import demand_operators_access

_AGENT = """
select a.username, a.display_name, a.created_at, a.secret_set_at,
       array(select queue from queue_agents where agent = a.username order by queue) as queues
from agents a
"""
_QUEUE = """
select q.name, array(select agent from queue_agents where queue = q.name order by position) as agents from queues q
"""


async def create_agent(session: Database, username: str, display_name: str, ha1: str) -> None:
    """Raises ConflictError when the name is taken, RestrictedError; an agent with the same HA1 is our own earlier
    attempt."""
    async with change(session):
        await demand_operators_access(session)
        cursor = await session.execute(
            "insert into agents (username, display_name, ha1) values (%s, %s, %s)"
            " on conflict (username) do update set username = excluded.username where agents.ha1 = excluded.ha1"
            " returning username",
            (username, display_name, ha1),
        )
        if await cursor.fetchone() is None:
            raise ConflictError(
                "agent_exists",
                f"agent {username} exists; for a new SIP secret send POST /v1/agents/{username}/sip-secret",
            )


async def set_secret(session: Database, username: str, ha1: str) -> None:
    """Replace an agent's HA1. Raises NotFoundError, RestrictedError."""
    async with change(session):
        await demand_operators_access(session)
        cursor = await session.execute(
            "update agents set ha1 = %s, secret_set_at = now() where username = %s", (ha1, username)
        )
        if cursor.rowcount == 0:
            raise NotFoundError(f"agent {username}")


async def delete_agent(session: Database, username: str) -> None:
    """Remove an agent, also from its queues. Removing one that is gone is done already."""
    async with change(session):
        await session.execute("delete from agents where username = %s", (username,))


async def list_agents(session: Database) -> list[DictRow]:
    return await (await session.execute(_AGENT + "order by a.username")).fetchall()


async def get_agent(session: Database, username: str) -> DictRow:
    """Raises NotFoundError."""
    row = await (await session.execute(_AGENT + "where a.username = %s", (username,))).fetchone()
    if row is None:
        raise NotFoundError(f"agent {username}")
    return row


async def put_queue(session: Database, name: str, agents: Sequence[str]) -> None:
    """Make the queue consist of exactly these agents, in this order. Raises InvalidReferenceError."""
    async with change(session):
        found = await session.execute("select username from agents where username = any(%s)", (list(agents),))
        known = {row["username"] for row in await found.fetchall()}
        for position, agent in enumerate(agents):
            if agent not in known:
                raise InvalidReferenceError(f"agents[{position}]", f"there is no agent {agent}; create it first")
        await session.execute("insert into queues (name) values (%s) on conflict (name) do nothing", (name,))
        await session.execute("delete from queue_agents where queue = %s", (name,))
        await session.execute(
            "insert into queue_agents (queue, agent, position)"
            " select %s, agent, position from unnest(%s::text[]) with ordinality as given (agent, position)",
            (name, list(agents)),
        )


async def list_queues(session: Database) -> list[DictRow]:
    return await (await session.execute(_QUEUE + "order by q.name")).fetchall()


async def get_queue(session: Database, name: str) -> DictRow:
    """Raises NotFoundError."""
    row = await (await session.execute(_QUEUE + "where q.name = %s", (name,))).fetchone()
    if row is None:
        raise NotFoundError(f"queue {name}")
    return row
