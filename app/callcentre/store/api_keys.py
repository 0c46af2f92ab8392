"""API keys: prefixes and digests; the secrets themselves are nowhere."""

from __future__ import annotations

from psycopg.rows import DictRow

from callcentre.credentials import ApiKey
from callcentre.database.connection import Database
from callcentre.store.changes import ConflictError, change


async def find_digest(session: Database, prefix: str) -> bytes | None:
    """The stored digest, or None."""
    cursor = await session.execute("select secret_sha256 from api_keys where prefix = %s", (prefix,))
    row = await cursor.fetchone()
    return None if row is None else bytes(row["secret_sha256"])


async def create_key(session: Database, key: ApiKey, name: str) -> DictRow:
    """Raises ConflictError in the unlikely case that the prefix is taken."""
    async with change(session):
        cursor = await session.execute(
            "insert into api_keys (prefix, name, secret_sha256) values (%s, %s, %s)"
            " on conflict (prefix) do update set prefix = excluded.prefix"
            " where api_keys.secret_sha256 = excluded.secret_sha256 returning prefix, name, seeded, created_at",
            (key.prefix, name, key.digest),
        )
        row = await cursor.fetchone()
        if row is None:
            raise ConflictError("prefix_taken", "the key could not be made; send the request again")
        return row


async def seed_key(session: Database, key: ApiKey) -> None:
    """Make `key` the one seeded key. Nothing is written when it is that already: pods start often."""
    cursor = await session.execute("select prefix, secret_sha256 from api_keys where seeded")
    rows = await cursor.fetchall()
    if [(row["prefix"], bytes(row["secret_sha256"])) for row in rows] == [(key.prefix, key.digest)]:
        return
    async with change(session):
        await session.execute("delete from api_keys where seeded and prefix <> %s", (key.prefix,))
        await session.execute(
            "insert into api_keys (prefix, name, secret_sha256, seeded) values (%s, 'admin', %s, true)"
            " on conflict (prefix) do update set secret_sha256 = excluded.secret_sha256, seeded = true",
            (key.prefix, key.digest),
        )


async def list_keys(session: Database) -> list[DictRow]:
    cursor = await session.execute("select prefix, name, seeded, created_at from api_keys order by created_at, prefix")
    return await cursor.fetchall()


async def delete_key(session: Database, prefix: str) -> None:
    """Revoke a key. Raises ConflictError for the seeded one, which would come back at the next start."""
    async with change(session):
        cursor = await session.execute("select seeded from api_keys where prefix = %s", (prefix,))
        row = await cursor.fetchone()
        if row is not None and row["seeded"]:
            raise ConflictError("key_is_seeded", "this key comes from the Secret api-admin; change it there")
        await session.execute("delete from api_keys where prefix = %s", (prefix,))
