"""Agents, queues, numbers, call records, API keys.

`configuration.version` changes with every change of what the platform or the API configures. The one row does three
things: it serialises such changes (level-based lists are replaced as a whole), it makes each of them write WAL even
when it finds its work done already (so that its commit waits for a standby: see `callcentre.store`), and it tells the
edge's poll cheaply whether anything changed.

`call_records` refers to agents and queues by name only: a record outlives both. Times are not checked against each
other: the two nodes of an edge stamp begin and end of a call with clocks of their own, and a record must not be
refused for that. Keys sort by bytes (collate "C"): an index must survive a change of the C library's collations.
"""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    create table tenant (
        singleton boolean primary key default true check (singleton),
        name text not null check (name <> ''),
        display_name text not null default ''
    )""",
    """
    create table configuration (
        singleton boolean primary key default true check (singleton),
        version uuid not null default gen_random_uuid()
    )""",
    "insert into configuration default values",
    """
    create table agents (
        username text collate "C" primary key check (username ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$'),
        display_name text not null default '',
        ha1 text not null check (ha1 ~ '^[0-9a-f]{32}$'),
        created_at timestamptz not null default now(),
        secret_set_at timestamptz not null default now()
    )""",
    """
    create table queues (
        name text collate "C" primary key check (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
        created_at timestamptz not null default now()
    )""",
    """
    create table queue_agents (
        queue text collate "C" not null references queues on delete cascade,
        agent text collate "C" not null references agents on delete cascade,
        position integer not null,
        primary key (queue, agent)
    )""",
    "create index queue_agents_agent on queue_agents (agent)",
    """
    create table numbers (
        number text collate "C" primary key check (number ~ '^\\+[1-9][0-9]{1,14}$'),
        queue text collate "C" not null references queues
    )""",
    "create index numbers_queue on numbers (queue)",
    """
    create table call_records (
        id text collate "C" primary key check (length(id) between 1 and 512),
        direction text not null check (direction in ('in', 'out')),
        number text not null check (number ~ '^\\+[1-9][0-9]{1,14}$'),
        caller text not null check (length(caller) <= 128),
        agent text check (length(agent) <= 64),
        queue text check (length(queue) <= 64),
        started_at timestamptz not null,
        answered_at timestamptz,
        ended_at timestamptz not null,
        end_reason text not null check (length(end_reason) <= 64),
        call_id text check (length(call_id) <= 512),
        note text check (length(note) <= 200),
        recorded_at timestamptz not null default now()
    )""",
    "create index call_records_time on call_records (started_at desc, id desc)",
    "create index call_records_number on call_records (number, started_at desc, id desc)",
    "create index call_records_agent on call_records (agent, started_at desc, id desc) where agent is not null",
    """
    create table api_keys (
        prefix text collate "C" primary key check (prefix ~ '^[A-Za-z0-9]{8}$'),
        name text not null,
        secret_sha256 bytea not null check (octet_length(secret_sha256) = 32),
        seeded boolean not null default false,
        created_at timestamptz not null default now()
    )""",
)


def upgrade() -> None:
    """Create everything."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """There is nothing before the first revision; data are not thrown away by a rollback."""
    raise NotImplementedError("restore from the archive instead of going below the first revision")
