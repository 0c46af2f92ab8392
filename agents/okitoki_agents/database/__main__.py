"""`python -m okitoki_agents.database [agent | handover]`: the agent of a database pod, and the preStop hook of its
containers, which asks the agent to give the primary's role away. Configuration: Patroni's own environment."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from okitoki_agents.database.agent import DatabaseAgent
from okitoki_agents.database.fencing import Fencing
from okitoki_agents.database.local import LocalServer
from okitoki_agents.database.peers import HANDOVER_SECONDS, PORT, Peers, application
from okitoki_agents.database.reinitialise import PatroniApi, Reinitialiser
from okitoki_agents.database.replace import Replacement
from okitoki_agents.database.store import SELECTOR, PatroniStore
from okitoki_agents.kube import ApiClient, Reflector

FENCE_FILE = Path("/run/okitoki/fence.json")
NEEDED = (
    "PATRONI_NAME",
    "PATRONI_KUBERNETES_NAMESPACE",
    "PATRONI_REPLICATION_PASSWORD",
    "PATRONI_RESTAPI_PASSWORD",
)


@dataclass(frozen=True)
class Settings:
    """From the environment. Passwords stay out of `repr`."""

    name: str
    namespace: str
    replication_password: str
    token: str

    def __repr__(self) -> str:
        return f"Settings(name={self.name!r}, namespace={self.namespace!r})"


def settings(environment: Mapping[str, str]) -> Settings:
    """Raises SystemExit that names what is missing."""
    if missing := [name for name in NEEDED if not environment.get(name)]:
        raise SystemExit(f"{', '.join(missing)} must be set, as in the container of Patroni")
    return Settings(*(environment[name] for name in NEEDED))


async def run(found: Settings, client: ApiClient) -> None:
    """Until cancelled."""
    base = f"/api/v1/namespaces/{found.namespace}"
    server = LocalServer()
    async with aiohttp.ClientSession() as session:
        lock = PatroniStore(client, found.namespace)
        peers = Peers(found.token, lambda member: agent.address(member), session)
        agent = DatabaseAgent(
            found.name,
            found.replication_password,
            server,
            Fencing(found.name, server, FENCE_FILE),
            Replacement(found.name, lock, peers),
        )
        reinitialiser = Reinitialiser(found.name, server, lock, PatroniApi(found.token, session), agent.address)

        def status() -> dict[str, object]:
            return {**agent.status(), "standstill": reinitialiser.reason}

        handlers = {"consent": agent.consent, "cut": agent.cut, "withdraw": agent.withdraw, "handover": agent.handover}
        runner = web.AppRunner(application(found.token, handlers, status), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", PORT).start()
        async with asyncio.TaskGroup() as group:
            group.create_task(Reflector(client, f"{base}/pods", SELECTOR, agent.on_pods).run())
            group.create_task(Reflector(client, f"{base}/configmaps", SELECTOR, agent.on_maps).run())
            group.create_task(agent.run())
            group.create_task(reinitialiser.run(lambda: agent.store, lambda: agent.fenced))


async def handover(found: Settings) -> None:
    """Ask the agent beside to hand over, and say what came of it. No outcome is an error: the pod stops anyway."""
    async with aiohttp.ClientSession() as session:
        peers = Peers(found.token, lambda _: "127.0.0.1", session)
        answers = await peers.ask(frozenset({found.name}), "handover", {}, HANDOVER_SECONDS)
    print(answers[found.name].verdict.reason)


def main() -> None:
    """The container's process, or its hook."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it tells of every probe that is given up
    match sys.argv[1:]:
        case [] | ["agent"]:
            asyncio.run(run(settings(os.environ), ApiClient.in_cluster()))
        case ["handover"]:
            asyncio.run(handover(settings(os.environ)))
        case _:
            raise SystemExit("usage: okitoki-database [agent | handover]")


if __name__ == "__main__":
    main()
