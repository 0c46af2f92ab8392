"""The real app over HTTPS on a real PostgreSQL, and Locust as a user would start it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from support.callcentre_app import ADMIN_KEY, EDGE_TOKEN, PLATFORM_TOKEN, members_of
from support.postgres import PASSWORD, Server, free_port
from unit.load.doubles import HOST, KEY, Store, certificate

LOADTESTS = Path(__file__).resolve().parents[3] / "loadtests"
NUMBER = "+380441234567"
START_SECONDS = 60


class AppProcess:
    """`python -m callcentre`, which may be killed and started again at the same port."""

    def __init__(self, folder: Path, server: Server) -> None:
        certificate(folder)
        self.folder = folder
        self.ca = folder / "ca.crt"
        self.port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TENANT_NAME": "acme",
            "DB_MEMBERS": members_of(server),
            "DB_PASSWORD": PASSWORD,
            "PLATFORM_TOKEN": PLATFORM_TOKEN,
            "EDGE_TOKEN": EDGE_TOKEN,
            "ADMIN_API_KEY": ADMIN_KEY.text,
            "TLS_CERT_FILE": str(self.ca),
            "TLS_KEY_FILE": str(folder / "tls.key"),
            "PORT": str(self.port),
        }

    async def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "callcentre", env=self._environment, stdout=log, stderr=log
            )
        context = ssl.create_default_context(cafile=str(self.ca))
        url = f"https://127.0.0.1:{self.port}/readyz"
        extensions = {"sni_hostname": HOST}
        async with httpx.AsyncClient(verify=context) as client, asyncio.timeout(START_SECONDS):
            while True:
                assert self._process.returncode is None, (self.folder / "log").read_text()
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(url, extensions=extensions)).status_code == 200:
                        return
                await asyncio.sleep(0.1)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def running_app(folder: Path, server: Server) -> AsyncIterator[AppProcess]:
    app = AppProcess(folder, server)
    try:
        await app.start()
        yield app
    finally:
        await app.kill()


class Locust:
    """One `locust` process and what it leaves behind."""

    def __init__(self, folder: Path, *, port: int, key: str, files: tuple[str, ...] = ("locustfile.py",)) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.output = folder / "locust.log"
        self._processes: list[asyncio.subprocess.Process] = []
        key_file = folder / "key"
        key_file.write_text(key + "\n")
        self._arguments = [
            *("-f", ",".join(str(LOADTESTS / file) for file in files), "--host", f"https://{HOST}:{port}"),
            *("--address", "127.0.0.1", "--ca-file", str(folder / "ca.crt"), "--api-key-file", str(key_file)),
            *("--numbers", NUMBER, "--ledger", str(self.results)),
        ]

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """As a user does it: no PYTHONPATH, Locust itself finds what is beside the locustfile."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with self.output.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "locust", *self._arguments, *arguments, env=environment,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._processes.append(process)
        return process

    async def close(self) -> None:
        """Leave nothing running after a test that failed."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def run(self, *arguments: str, limit: float = 90) -> int:
        process = await self.start("--headless", *arguments)
        return await asyncio.wait_for(process.wait(), limit)

    def run_folder(self) -> Path:
        """The folder of the only run."""
        (found,) = [path for path in self.results.iterdir() if path.name.startswith("load-")]
        return found

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_folder() / "report.json").read_text())
        return found

    def said(self) -> str:
        return self.output.read_text()


@asynccontextmanager
async def loaded_store(folder: Path) -> AsyncIterator[tuple[Store, Locust]]:
    """A server that keeps what it is told to, and Locust to load it."""
    context, _ = certificate(folder)
    store = Store()
    runner, port = await store.start(context)
    locust = Locust(folder, port=port, key=KEY)
    try:
        yield store, locust
    finally:
        await locust.close()
        await runner.cleanup()
