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
def template() -> Iterator[Server]:
    """A stopped server to copy: database `callcentre` has its tables, and so has `migrated`, to be a template."""
    with throw_away_cluster() as cluster:
        server = cluster.primary("template")
        run_migrations(server)
        server.sql("create database migrated owner app template callcentre", "postgres")
        server.stop("fast")
        yield server


@pytest.fixture(scope="session")
def shared_server(template: Server) -> Iterator[Server]:
    """One server for tests that leave it as it was."""
    with throw_away_cluster() as cluster:
        yield cluster.copy(template)


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
def primary(servers: Cluster, template: Server) -> Server:
    """A server of the test's own, with all tables."""
    return servers.copy(template)


@pytest.fixture
def pair(servers: Cluster, primary: Server) -> tuple[Server, Server]:
    """A primary whose commits wait for its one standby."""
    standby = servers.standby(primary, "second")
    primary.configure(synchronous_standby_names="second")
    return primary, standby


@pytest.fixture
async def app(server: Server) -> AsyncIterator[App]:
    async with running_app(server) as running:
        yield running
