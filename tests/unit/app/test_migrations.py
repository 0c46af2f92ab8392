"""Migrations: named as the app expects, safe to run from two pods at once, known to be lost when they are."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest
from alembic.script import ScriptDirectory
from support.callcentre_app import App, RunApp
from support.postgres import Server

from callcentre.database.connection import Database
from callcentre.database.schema import SchemaState, judge
from callcentre.migrations import expected_revision, known_revisions
from callcentre.migrations.__main__ import configuration
from callcentre.store.call_records import Cursor, Filter, list_statement


def test_alembic_sees_the_revisions_that_the_file_names_say() -> None:
    scripts = ScriptDirectory.from_config(configuration())
    assert scripts.get_heads() == [expected_revision()]
    assert [script.revision for script in scripts.walk_revisions()][::-1] == known_revisions()


@pytest.mark.parametrize(
    ("revision", "state"),
    [
        (None, SchemaState.BEHIND),
        ("0001", SchemaState.BEHIND),
        ("0002", SchemaState.READY),
        ("0003", SchemaState.READY),
    ],
)
def test_what_a_revision_means(revision: str | None, state: SchemaState) -> None:
    verdict = judge(revision, ["0001", "0002"])
    assert verdict.state is state
    assert verdict.reason


def migrated(app: App) -> bool:
    return app.services.schema.migrated


async def test_two_pods_start_on_an_empty_database(empty_server: Server, run_app: RunApp) -> None:
    server = empty_server
    async with run_app(server, ready=False) as one, run_app(server, ready=False) as two:
        for app in (one, two):
            await app.until(partial(migrated, app), "migrated", 90)
    assert server.sql("select version_num from alembic_version") == [(expected_revision(),)]


async def test_every_query_of_records_reads_an_index(server: Server, run_app: RunApp) -> None:
    moment = datetime(2099, 3, 1, tzinfo=UTC)  # all rows come after this cursor: no index is cheaper than its filter
    async with run_app(server) as app:
        server.sql(
            "insert into call_records (id, direction, number, caller, agent, started_at, ended_at, end_reason)"
            " select n::text, 'in', '+38044' || n % 100, '', n % 50, now() - n * interval '1 minute', now(), 'bye'"
            " from generate_series(1, 20000) n"
        )
        server.sql("analyze call_records")
        for wanted, index in (
            (Filter(), "call_records_time"),
            (Filter(since=datetime(2020, 3, 1, tzinfo=UTC)), "call_records_time"),
            (Filter(number="+380447"), "call_records_number"),
            (Filter(agent="7"), "call_records_agent"),
        ):
            statement, values = list_statement(wanted, Cursor(moment, "x"), 100)

            async def explain(session: Database, s: str = statement, v: dict[str, object] = values) -> list[str]:
                """With an order that an index gives: in a small table sorting is cheaper."""
                async with session.transaction():
                    await session.execute("set local enable_sort = off")
                    await session.execute("set local enable_bitmapscan = off")
                    return [str(row) for row in await (await session.execute("explain " + s, v)).fetchall()]

            plan = " ".join(await app.services.database.run(explain))
            assert index in plan
            assert "Sort" not in plan
