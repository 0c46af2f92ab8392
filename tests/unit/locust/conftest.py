from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.callcentre_app import run_migrations
from support.postgres import Server, throw_away_cluster


@pytest.fixture(scope="session")
def database() -> Iterator[Server]:
    """One PostgreSQL server with the app's tables; tests tell their records apart by their runs."""
    with throw_away_cluster() as cluster:
        server = cluster.primary("load")
        run_migrations(server)
        yield server
