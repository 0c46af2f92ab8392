"""Call records: written once per key, read by time, number and agent."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow

from callcentre.database.connection import Database, fetch_row
from callcentre.store.changes import ConflictError, NotFoundError

FIELDS = (
    "direction", "number", "caller", "agent", "landline", "queue", "started_at", "answered_at", "ended_at",
    "end_reason", "call_id", "note",
)  # fmt: skip
_COLUMNS = ", ".join(("id", *FIELDS, "recorded_at"))

# `do update` and not `do nothing`: the replay must write WAL and so wait for a standby (see the package's docstring).
# The update sets the key to itself, so the row stays what it was, and it is returned, which `do nothing` would not do.
# A new row has no xmax; one that was found carries the lock that the update took.
_INSERT = f"""
insert into call_records (id, {", ".join(FIELDS)}) values (%(id)s, {", ".join(f"%({name})s" for name in FIELDS)})
on conflict (id) do update set id = excluded.id
returning {_COLUMNS}, (xmax = 0) as inserted
"""


@dataclass(frozen=True)
class Written:
    """A stored record, and whether this request stored it."""

    row: DictRow
    created: bool


@dataclass(frozen=True)
class Cursor:
    """The last record of a page: the next one goes on behind it."""

    started_at: datetime
    id: str

    def encode(self) -> str:
        text = json.dumps([self.started_at.isoformat(), self.id], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Raises ValueError for anything that `encode` did not make."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            started_at, record_id = json.loads(raw)
            cursor = cls(datetime.fromisoformat(started_at), record_id)
        except (binascii.Error, UnicodeError, ValueError, TypeError, RecursionError):
            raise ValueError("not a cursor") from None
        if not isinstance(record_id, str) or "\0" in record_id or cursor.started_at.tzinfo is None:
            raise ValueError("not a cursor")
        return cursor


@dataclass(frozen=True)
class Filter:
    """Which records: `since` <= startedAt < `until`, and equal number and agent where given."""

    since: datetime | None = None
    until: datetime | None = None
    number: str | None = None
    agent: str | None = None


async def write_record(session: Database, record_id: str, record: Mapping[str, object]) -> Written:
    """Store `record` (FIELDS) under its key, or find it there. Raises ConflictError when another one is there."""
    row = await fetch_row(session, _INSERT, {"id": record_id, **record})
    created = bool(row.pop("inserted"))
    different = sorted(name for name in FIELDS if row[name] != record[name])
    if different:
        raise ConflictError(
            "key_reused",
            f"another call record is stored under this key (it differs in {', '.join(different)}); use a new key",
        )
    return Written(row, created)


async def get_record(session: Database, record_id: str) -> DictRow:
    """Raises NotFoundError."""
    row = await (await session.execute(f"select {_COLUMNS} from call_records where id = %s", (record_id,))).fetchone()
    if row is None:
        raise NotFoundError(f"call record {record_id}")
    return row


def list_statement(wanted: Filter, after: Cursor | None, limit: int) -> tuple[str, dict[str, object]]:
    """The query of one page, newest first: a range of one index, whatever the page."""
    conditions = {
        "started_at >= %(since)s": wanted.since,
        "started_at < %(until)s": wanted.until,
        "number = %(number)s": wanted.number,
        "agent = %(agent)s": wanted.agent,
        "(started_at, id) < (%(after_time)s, %(after_id)s)": after,
    }
    given = [condition for condition, value in conditions.items() if value is not None]
    where = f" where {' and '.join(given)}" if given else ""
    values: dict[str, object] = {
        "since": wanted.since, "until": wanted.until, "number": wanted.number, "agent": wanted.agent,
        "after_time": after.started_at if after else None, "after_id": after.id if after else None, "limit": limit,
    }  # fmt: skip
    return (
        f"select {_COLUMNS} from call_records{where} order by started_at desc, id desc limit %(limit)s",
        {name: value for name, value in values.items() if value is not None},
    )


async def list_records(
    session: Database, wanted: Filter, after: Cursor | None, limit: int
) -> tuple[list[DictRow], Cursor | None]:
    """One page and the cursor of the next, None at the end."""
    statement, values = list_statement(wanted, after, limit + 1)
    rows = await (await session.execute(statement, values)).fetchall()
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], Cursor(last["started_at"], last["id"])
