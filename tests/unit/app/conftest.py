"""Real PostgreSQL servers, and the app in front of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from support.callcentre_app import App, RunApp, run_migrations, running_app
from support.postgres import Cluster, Server, throw_away_cluster


@pytest.fixture
def run_app() -> RunApp:
    return running_app


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    """One server for tests that leave it as it was; its database `migrated` is the template of theirs."""
    with throw_away_cluster() as cluster:
        server = cluster.primary()
        server.sql("create database migrated owner app", "postgres")
        run_migrations(server, "migrated")
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The shared server with its tables, all empty."""
    shared_server.sql("drop database if exists callcentre with (force)", "postgres")
    shared_server.sql("create database callcentre owner app template migrated", "postgres")
    return shared_server


@pytest.fixture
def empty_server(shared_server: Server) -> Server:
    """The shared server with an empty database."""
    shared_server.sql("drop database if exists callcentre with (force)", "postgres")
    shared_server.sql("create database callcentre owner app", "postgres")
    return shared_server


@pytest.fixture
def servers() -> Iterator[Cluster]:
    """Servers that the test makes and may break."""
    with throw_away_cluster() as cluster:
        yield cluster


@pytest.fixture
async def app(server: Server) -> AsyncIterator[App]:
    async with running_app(server) as running:
        yield running
