"""App servers killed and frozen under requests through a real HAProxy with the agent's configuration.

    PYTHONPATH=agents:tests python tests/edge/haproxy_drill.py --haproxy COMMAND

COMMAND is HAProxy 3.0 (for a trixie tree elsewhere, a script that enters it with the work folder mounted). All
addresses are loopback. Exit code 0 only if every request that may be repeated succeeded within the client's deadline,
no other request ever reached two servers, and adding a server or a tenant under load failed nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import aiohttp
from unit.edge_agent.support import make_certificate, tenant

from okitoki_agents.edge.agent.endpoints import Backend
from okitoki_agents.edge.agent.haproxy import Haproxy, command
from okitoki_agents.edge.agent.haproxy_config import Files

ADDRESS, PORT, APP_PORT = "127.0.2.1", 9443, 8443
SERVERS = ("127.0.1.1", "127.0.1.2", "127.0.1.3")
HOST, SERVER_NAME = "acme.kyiv.okitoki.test", "app.tenant-acme.svc"
CLIENT_SECONDS = 12.0
KINDS = {"GET": ("GET", False), "PUT": ("PUT", False), "POST+key": ("POST", True), "POST": ("POST", False)}
REPEATABLE = ("GET", "PUT", "POST+key")

_APP = """
import asyncio, os, ssl, sys
from aiohttp import web
address, folder = sys.argv[1:]
async def answer(request):
    await request.read()
    if request.path != "/readyz":
        with open(f"{folder}/seen", "a") as log:
            log.write(request.headers["X-Request"] + "\\n")
        await asyncio.sleep(0.1)
        if os.path.exists(f"{folder}/refuse"):
            return web.json_response({"error": {"code": "database_unavailable"}}, status=503)
    return web.json_response({"from": address})
app = web.Application()
app.router.add_route("*", "/{path:.*}", answer)
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(f"{folder}/app.tenant-acme.svc.crt", f"{folder}/app.tenant-acme.svc.key")
web.run_app(app, host=address, port=8443, ssl_context=tls, print=None)
"""


class Drill:
    """HAProxy, its servers and the clients."""

    def __init__(self, folder: Path, binary: str) -> None:
        self.folder = folder
        make_certificate(folder, SERVER_NAME)
        certificate, key = make_certificate(folder, HOST)
        self.pem = certificate.read_bytes() + key.read_bytes()
        self.trust = ssl.create_default_context(cafile=str(certificate))
        (folder / "run").mkdir()
        self.files = Files(folder / "haproxy.d", folder / "run", folder / f"{SERVER_NAME}.crt")
        self.haproxy = Haproxy(self.files, ADDRESS, PORT, binary)
        self.binary = binary
        self.tenants = {"acme": tenant(host=HOST, port=APP_PORT, serverName=SERVER_NAME)}
        self.apps: dict[str, subprocess.Popen[bytes]] = {}
        self.results: list[tuple[str, int | str, float]] = []

    def start_app(self, address: str) -> None:
        self.apps[address] = subprocess.Popen([sys.executable, "-c", _APP, address, str(self.folder)])

    async def want(self, *addresses: str) -> None:
        self.haproxy.want(self.tenants, {"acme": [Backend(address) for address in addresses]}, self.pem)
        await self.haproxy.converge()

    async def state(self, server: str) -> str:
        rows = (await command(self.files.stats_socket, "show stat")).splitlines()
        return next(row.split(",")[17] for row in rows if row.startswith(f"tenant_acme,{server},"))

    async def until(self, server: str, *states: str) -> float:
        """Seconds until HAProxy says that of a server; fails after 30."""
        began = time.monotonic()
        async with asyncio.timeout(30):
            while not (await self.state(server)).startswith(states):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.05)
        return time.monotonic() - began

    def start_haproxy(self) -> subprocess.Popen[bytes]:
        master = ["-W", "-S", str(self.files.master_socket), "-f", str(self.files.config)]
        return subprocess.Popen([self.binary, *master], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        for address in SERVERS[:2]:
            self.start_app(address)
        await self.want(*SERVERS[:2])
        process = self.start_haproxy()
        try:
            async with asyncio.timeout(30):
                while self.haproxy.error is not None:
                    await asyncio.sleep(0.2)
                    await self.haproxy.converge()
            for server in ("s1", "s2"):
                await self.until(server, "UP")
            yield
        finally:
            process.terminate()
            process.wait()
            for app in self.apps.values():
                app.send_signal(SIGCONT)
                app.kill()
                app.wait()

    async def _client(self, session: aiohttp.ClientSession, kind: str, stop: asyncio.Event) -> None:
        method, keyed = KINDS[kind]
        while not stop.is_set():
            headers = {"X-Request": f"{kind} {uuid.uuid4()}"} | ({"Idempotency-Key": "k"} if keyed else {})
            began = time.monotonic()
            try:
                async with session.request(
                    method,
                    f"https://{ADDRESS}:{PORT}/v1/x",
                    headers={"Host": HOST, **headers},
                    data=None if method == "GET" else b"x" * 300,
                    ssl=self.trust,
                    server_hostname=HOST,
                ) as response:
                    await response.read()
                    outcome: int | str = response.status
            except (aiohttp.ClientError, TimeoutError) as error:
                outcome = type(error).__name__
            self.results.append((kind, outcome, time.monotonic() - began))

    async def run(self, name: str, fault: Callable[[], object], after: float = 4.0) -> bool:
        """One fault under load; whether all was well."""
        self.results = []
        (self.folder / "seen").write_text("")
        stop = asyncio.Event()
        timeout = aiohttp.ClientTimeout(total=CLIENT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            # aiohttp would repeat some requests on its own.
            session._retry_connection = False
            clients = [asyncio.create_task(self._client(session, kind, stop)) for kind in list(KINDS) * 4]
            await asyncio.sleep(1)
            result = fault()
            if asyncio.iscoroutine(result):
                await result
            await asyncio.sleep(after)
            stop.set()
            await asyncio.gather(*clients)
        seen = Counter((self.folder / "seen").read_text().splitlines())
        twice = [request for request, count in seen.items() if request.startswith("POST ") and count > 1]
        failed = [item for item in self.results if item[0] in REPEATABLE and item[1] != 200]
        slowest = max(took for kind, _, took in self.results if kind in REPEATABLE)
        others = Counter(outcome for kind, outcome, _ in self.results if kind == "POST")
        good = not twice and not failed and len(self.results) > len(KINDS) * 4
        print(
            f"{'ok  ' if good else 'FAIL'} {name}: {len(self.results)} requests, slowest repeatable {slowest:.2f} s, "
            f"{len(failed)} of those failed, POST without a key {dict(others)}, sent twice {len(twice)}",
            flush=True,
        )
        return good

    async def refusal(self, session: aiohttp.ClientSession) -> str:
        """The code of the 503 that a write gets."""
        url, headers = f"https://{ADDRESS}:{PORT}/v1/x", {"Host": HOST, "X-Request": "PUT once"}
        async with session.put(url, headers=headers, ssl=self.trust, server_hostname=HOST) as response:
            return str((await response.json())["error"]["code"]) if response.status == 503 else str(response.status)

    async def refused_after_a_frozen_try(self) -> bool:
        """Whether a 503 of the app is passed on as it is after one try, and as an unknown outcome after more."""
        (self.folder / "refuse").touch()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CLIENT_SECONDS)) as session:
            alone = {await self.refusal(session) for _ in range(4)}
            self.apps[SERVERS[0]].send_signal(SIGSTOP)
            several = set(await asyncio.gather(*(self.refusal(session) for _ in range(4))))
        self.apps[SERVERS[0]].send_signal(SIGCONT)
        (self.folder / "refuse").unlink()
        good = alone == {"database_unavailable"} and several == {"database_unavailable", "outcome_unknown"}
        print(f"{'ok  ' if good else 'FAIL'} refused: {alone} after one try, {several} with one of two servers frozen")
        return good


async def drills(drill: Drill) -> list[bool]:
    """All of them, one after the other, with full recovery between."""
    one = SERVERS[0]
    async with drill.up():
        found = [await drill.run("server frozen", lambda: drill.apps[one].send_signal(SIGSTOP))]
        drill.apps[one].send_signal(SIGCONT)
        await drill.until("s1", "UP")
        found.append(await drill.refused_after_a_frozen_try())
        await drill.until("s1", "UP")
        found.append(await drill.run("server killed", lambda: drill.apps[one].send_signal(SIGKILL)))
        drill.apps[one].wait()
        drill.start_app(one)
        await drill.until("s1", "UP")
        drill.start_app(SERVERS[2])
        found.append(await drill.run("server added", lambda: drill.want(*SERVERS)))
        await drill.until("s3", "UP")
        drill.tenants["beta"] = tenant(tenant="beta", host="beta.kyiv.okitoki.test")
        reloads = drill.haproxy.reloads
        found.append(await drill.run("tenant added (reload)", lambda: drill.want(*SERVERS)))
        found.append(drill.haproxy.reloads == reloads + 1 and drill.haproxy.error is None)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--haproxy", default="haproxy")
    parser.add_argument("--folder", type=Path, help="where to work, if HAProxy does not see the usual place")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        return 0 if all(asyncio.run(drills(Drill(Path(folder), options.haproxy)))) else 1


if __name__ == "__main__":
    sys.exit(main())
