"""How a database that is away multiplies requests: clients, a real HAProxy with the agent's configuration, two real app
processes, a real PostgreSQL.

    PYTHONPATH=agents:app:tests python tests/edge/overload_drill.py --haproxy COMMAND [--rate 20 200] [--away 3]

The database is stopped like a crash and started `away` seconds later, under an open schedule of `rate` writes a second,
each under a key of its own. Prints for each rate: requests that came to the apps and operations begun on the database
per client request, the most requests held at once, and the time after the database's return until latency was ordinary.
Exit code 0 only if every request succeeded and no app holds one whose client is gone.
COMMAND as in haproxy_drill.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from support.callcentre_app import ADMIN_KEY, EDGE_TOKEN, PLATFORM_TOKEN, RECORD, members_of, run_migrations
from support.postgres import PASSWORD, Server, throw_away_cluster
from unit.edge_agent.support import make_certificate, tenant

from okitoki_agents.edge.agent import haproxy
from okitoki_agents.edge.agent.haproxy_config import Files, Slot, TenantBackend, render

ADDRESS, PORT, APP_PORT = "127.0.2.2", 9444, 8444
SERVERS = ("127.0.1.11", "127.0.1.12")
HOST, SERVER_NAME = "acme.kyiv.okitoki.test", "app.tenant-acme.svc"
CLIENT_SECONDS = 12.0
BEFORE_SECONDS, AFTER_SECONDS = 3.0, 8.0
ORDINARY_SECONDS = 0.5
"""A request that took no longer is an ordinary one, on a busy machine too."""

# The app as it is, on one address of several, with counters around the requests and around the database's operations.
_APP = """
import asyncio, json, os, sys
import uvloop
from callcentre import logs
from callcentre.database.runner import Database
from callcentre.main import create_app
from callcentre.server import Certificate, build_server
from callcentre.settings import load_settings

address, report = sys.argv[1:]
counts = {"arrived": 0, "operations": 0, "held": 0, "most": 0}
perform = Database._perform

async def counted(self, primary, connection, operation):
    counts["operations"] += 1
    return await perform(self, primary, connection, operation)

Database._perform = counted

class Count:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["path"] == "/readyz":
            return await self.app(scope, receive, send)
        counts["arrived"] += 1
        counts["held"] += 1
        counts["most"] = max(counts["most"], counts["held"])
        try:
            await self.app(scope, receive, send)
        finally:
            counts["held"] -= 1

settings = load_settings(os.environ)
app = create_app(settings)
app.add_middleware(Count)
server = build_server(app, settings, Certificate(settings.certificate, settings.private_key))
server.config.host = address

async def tell():
    while True:
        await asyncio.sleep(0.2)
        with open(report + ".new", "w") as file:
            json.dump(counts, file)
        os.replace(report + ".new", report)

async def main():
    telling = asyncio.create_task(tell())
    await server.serve()

logs.configure()
uvloop.run(main())
"""


@dataclass(frozen=True)
class Reply:
    """One client request. Times are seconds from the run's start; `at` is when it was to be sent."""

    at: float
    took: float
    outcome: int | str


class Apps:
    """Two app processes before one database."""

    def __init__(self, folder: Path, database: Server) -> None:
        self.folder = folder
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "TENANT_NAME": "acme",
            "DB_MEMBERS": members_of(database),
            "DB_PASSWORD": PASSWORD,
            "PLATFORM_TOKEN": PLATFORM_TOKEN,
            "EDGE_TOKEN": EDGE_TOKEN,
            "ADMIN_API_KEY": ADMIN_KEY.text,
            "PORT": str(APP_PORT),
            "TLS_CERT_FILE": str(folder / f"{SERVER_NAME}.crt"),
            "TLS_KEY_FILE": str(folder / f"{SERVER_NAME}.key"),
        }
        self.processes = [self._start(address, environment) for address in SERVERS]

    def _start(self, address: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"app-{address}.log").open("wb") as log:
            command = [sys.executable, "-c", _APP, address, str(self.folder / f"counts-{address}")]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def counts(self) -> list[dict[str, int]]:
        return [json.loads((self.folder / f"counts-{address}").read_text()) for address in SERVERS]

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


class Proxy:
    """HAProxy with the two apps as its servers."""

    def __init__(self, folder: Path, binary: str) -> None:
        certificate, key = make_certificate(folder, HOST)
        self.trust = ssl.create_default_context(cafile=str(certificate))
        (folder / "run").mkdir()
        (folder / "haproxy.d").mkdir()
        files = Files(folder / "haproxy.d", folder / "run", folder / f"{SERVER_NAME}.crt")
        slots = tuple(Slot(address, "ready") for address in SERVERS)
        acme = tenant(host=HOST, port=APP_PORT, serverName=SERVER_NAME)
        backend = TenantBackend(acme.tenant, HOST, SERVER_NAME, APP_PORT, slots)
        made = render(
            haproxy.template(),
            files,
            ADDRESS,
            PORT,
            certificate.read_bytes() + key.read_bytes(),
            certificate.read_bytes(),
            (backend,),
        )
        for path, content in {**made.companions, files.config: made.config}.items():
            path.write_bytes(content)
        with (folder / "haproxy.log").open("wb") as log:
            self.process = subprocess.Popen([binary, "-db", "-f", str(files.config)], stdout=log, stderr=log)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


async def send(session: aiohttp.ClientSession, trust: ssl.SSLContext, began: float, at: float) -> Reply:
    """One write, once: what repeats it is the proxy."""
    await asyncio.sleep(max(0.0, began + at - time.monotonic()))
    headers = {"Host": HOST, "Authorization": f"Bearer {ADMIN_KEY.text}", "Idempotency-Key": str(uuid.uuid4())}
    url = f"https://{ADDRESS}:{PORT}/v1/call-records"
    try:
        async with session.post(url, json=RECORD, headers=headers, ssl=trust, server_hostname=HOST) as response:
            await response.read()
            outcome: int | str = response.status
    except (aiohttp.ClientError, TimeoutError) as error:
        outcome = type(error).__name__
    return Reply(at, time.monotonic() - began - at, outcome)


async def load(trust: ssl.SSLContext, database: Server, rate: float, away: float) -> tuple[list[Reply], float]:
    """The replies, and when (s from the start) the database was back."""
    total = BEFORE_SECONDS + away + AFTER_SECONDS
    timeout = aiohttp.ClientTimeout(total=CLIENT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        session._retry_connection = False  # aiohttp would repeat some requests on its own
        began = time.monotonic()
        requests = [
            asyncio.create_task(send(session, trust, began, number / rate)) for number in range(int(total * rate))
        ]
        await asyncio.sleep(BEFORE_SECONDS)
        await asyncio.to_thread(database.stop, "immediate")
        await asyncio.sleep(max(0.0, began + BEFORE_SECONDS + away - time.monotonic()))
        await asyncio.to_thread(database.start)
        back = time.monotonic() - began
        return list(await asyncio.gather(*requests)), back


def describe(replies: list[Reply], back: float, counts: list[dict[str, int]]) -> str:
    """The figures of one run in one line."""
    late = [reply.at for reply in replies if reply.at > back and reply.took > ORDINARY_SECONDS]
    failed = [reply for reply in replies if reply.outcome not in {200, 201}]
    arrived, operations = (sum(count[name] for count in counts) for name in ("arrived", "operations"))
    return (
        f"{len(replies)} requests, {len(failed)} failed {sorted({str(reply.outcome) for reply in failed})}, "
        f"per request: {arrived / len(replies):.2f} arrived, {operations / len(replies):.2f} operations; "
        f"most held {sum(count['most'] for count in counts)}, still held {sum(count['held'] for count in counts)}; "
        f"slowest {max(reply.took for reply in replies):.1f} s; away {back - BEFORE_SECONDS:.1f} s, "
        f"then ordinary after {max(late) - back if late else 0.0:.1f} s, {len(late)} late"
    )


async def ready(folder: Path) -> None:
    """Wait until HAProxy says that both servers are well."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                rows = (await haproxy.command(folder / "run" / "haproxy.sock", "show stat")).splitlines()
                states = [row.split(",")[17] for row in rows if row.startswith(("tenant_acme,s1,", "tenant_acme,s2,"))]
                if states == ["UP", "UP"]:
                    return
            await asyncio.sleep(0.2)


async def run(folder: Path, binary: str, database: Server, rate: float, away: float) -> bool:
    """One run; whether nothing failed and nothing is held any more."""
    make_certificate(folder, SERVER_NAME)
    apps, proxy = Apps(folder, database), Proxy(folder, binary)
    try:
        await ready(folder)
        replies, back = await load(proxy.trust, database, rate, away)
        await asyncio.sleep(1.0)
        counts = apps.counts()
    finally:
        proxy.stop()
        apps.stop()
    good = all(reply.outcome in {200, 201} for reply in replies) and not any(count["held"] for count in counts)
    print(f"{'ok  ' if good else 'FAIL'} {rate:.0f}/s, {describe(replies, back, counts)}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--haproxy", default="haproxy")
    parser.add_argument("--folder", type=Path, help="where to work, if HAProxy does not see the usual place")
    parser.add_argument("--rate", type=float, default=[20.0, 200.0], nargs="+", help="requests a second")
    parser.add_argument("--away", type=float, default=3.0, help="seconds without a database")
    options = parser.parse_args()
    good = True
    with throw_away_cluster() as cluster:
        database = cluster.primary()
        run_migrations(database)
        for rate in options.rate:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                good &= asyncio.run(run(Path(folder), options.haproxy, database, rate, options.away))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
