"""Fixtures: an API server for the session with the CRDs installed, a client, and a tenant's reconcile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import kopf
import pytest
from api.apiserver import api_server
from api.world import World, wait_until

from okitoki.api.crds import all_crds
from okitoki.kube.client import Client
from okitoki.kube.resources import CUSTOM_RESOURCE_DEFINITION, condition_is_true


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the API server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.api)


@pytest.fixture(scope="session")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kopf.ConnectionInfo]:
    """How to reach the API server."""
    with api_server(tmp_path_factory.mktemp("api")) as found:
        asyncio.run(_install_crds(found))
        yield found


async def _install_crds(connection: kopf.ConnectionInfo) -> None:
    async with Client(connection) as client:
        for item in all_crds().values():
            await client.apply(item)
        for item in all_crds().values():
            name = item["metadata"]["name"]
            await wait_until(lambda name=name: _established(client, name), seconds=120)


async def _established(client: Client, name: str) -> bool:
    return condition_is_true(await client.get(CUSTOM_RESOURCE_DEFINITION, name) or {}, "Established")


@pytest.fixture
async def client(connection: kopf.ConnectionInfo) -> AsyncIterator[Client]:
    """A client as administrator."""
    async with Client(connection) as found:
        yield found


@pytest.fixture
async def world(connection: kopf.ConnectionInfo) -> AsyncIterator[World]:
    """A region, and what is needed to reconcile tenants; all tenants are removed afterwards."""
    async with Client(connection) as plain:
        found = World(connection, plain)
        await found.set_up()
        yield found
        await found.tear_down()
