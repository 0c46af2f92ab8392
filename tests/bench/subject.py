"""One of the two operators as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from support.postgres import free_port

from bench import measure
from bench.objects import IMAGES, OPERATOR_NAMESPACE

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600.0
OKITOKI, PEER = "okitoki", "peer"

T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """How an operator is started; `{metrics}` in the command and the environment is the port of its metrics."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def okitoki(apps_port: int) -> Subject:
    """This repository's operator, with the simulated cluster's DNS."""
    environment = {
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'tests'}",
        "POD_NAMESPACE": OPERATOR_NAMESPACE,
        "POD_NAME": OKITOKI,
        "OKITOKI_HEALTH_PORT": str(free_port()),
        "OKITOKI_METRICS_PORT": "{metrics}",
        "BENCH_APPS_PORT": str(apps_port),
        **{f"OKITOKI_IMAGE_{image}": name for image, name in IMAGES.items()},
    }
    return Subject(OKITOKI, (sys.executable, "-m", "bench.cluster_dns"), environment)


def peer(binary: Path, objects: Path) -> Subject:
    """The operator on controller-runtime (tests/bench/peer)."""
    return Subject(PEER, (str(binary), "--objects", str(objects), "--metrics", "127.0.0.1:{metrics}"))


class Running:
    """A started operator."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self._port = port
        self.started = time.monotonic()
        self.use = measure.ProcessUse([process.pid])

    @classmethod
    async def start(cls, subject: Subject, kubeconfig: Path, log: Path) -> Running:
        """Start it; its output is added to `log`."""
        port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(log.parent),
            "KUBECONFIG": str(kubeconfig),
            **{name: value.format(metrics=port) for name, value in subject.environment.items()},
        }
        command = [word.format(metrics=port) for word in subject.command]
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=output, stderr=output)
        return cls(process, port)

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work that waits for what the operator does.

        Raises RuntimeError once the process has ended: there is no kubelet here that would start it again.
        """
        working, ending = asyncio.create_task(work), asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise RuntimeError(
                f"the operator ended with {ending.result()}; operator.log (--keep FOLDER) says why: on a machine too "
                "busy to let it renew its lease for 10 s it has lost it, and the measurement must be made again"
            )
        finally:
            for task in (working, ending):
                task.cancel()
            await asyncio.gather(working, ending, return_exceptions=True)

    async def metrics(self) -> str:
        """The metrics page; empty while nobody answers."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self._port}/metrics") as answer,
            ):
                return await answer.text()
        except aiohttp.ClientError:
            return ""

    async def leading(self) -> None:
        """Wait until it holds its lease."""
        async with asyncio.timeout(PATIENCE):
            while True:
                if measure.leads(await self.metrics()):
                    return
                await asyncio.sleep(0.2)

    async def reconciled(self, count: int, every: float) -> float:
        """Wait until `count` reconciles of Tenants have ended and none waits; seconds since the start."""
        while True:
            ended, waiting = measure.reconciles(await self.metrics())
            if ended >= count and not waiting:
                return time.monotonic() - self.started
            await asyncio.sleep(every)

    async def settled(self, quiet: float) -> float:
        """Wait until no reconcile has ended for `quiet` seconds; how many there were."""
        before = -1.0
        while True:
            ended, waiting = measure.reconciles(await self.metrics())
            if ended == before and not waiting:
                return ended
            before = ended
            await asyncio.sleep(quiet)

    async def stop(self) -> None:
        """SIGTERM, as a rollout does it."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), PATIENCE)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
