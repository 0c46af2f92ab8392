"""The HTTPS server: uvicorn with certificates that are read again when their files change, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from callcentre.api.access import Services
from callcentre.settings import Settings

DRAIN_SECONDS = 3.0
"""Between SIGTERM (`/readyz` is 503 from then on) and the end of listening: several checks of a load balancer."""

FINISH_SECONDS = 9
"""Then for requests in progress: a little more than the request deadline. Together well under the pod's 30 s."""

CERTIFICATE_CHECK = 10.0

log = logging.getLogger(__name__)


class Certificate:
    """A TLS context that follows its files. New handshakes use what was loaded last."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._files = (certificate, private_key)
        self.context = self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self._loaded = self._stamp()

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(*self._files)
        return context

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        states = [path.stat() for path in self._files]
        return tuple((state.st_ino, state.st_mtime_ns, state.st_size) for state in states)

    def reload_if_changed(self) -> bool:
        """Load the files again if they changed and fit each other; whether that was done."""
        try:
            stamp = self._stamp()
            if stamp == self._loaded:
                return False
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # a failed load into the one in use would spoil it
            self._load(self.context)
        except (OSError, ssl.SSLError) as error:
            log.warning("certificate not reloaded", extra={"reason": str(error)})
            return False
        self._loaded = stamp
        log.info("certificate reloaded")
        return True

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK)
            self.reload_if_changed()


class Server(uvicorn.Server):
    """SIGTERM: stop being ready, go on serving for DRAIN_SECONDS, then finish. A second signal: finish now."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        self._loop = asyncio.get_running_loop()
        await super().serve()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._draining or sig != signal.SIGTERM or self._loop is None or not self.started:
            super().handle_exit(sig, frame)
            return
        self._draining = True
        self._loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        log.info("draining", extra={"seconds": DRAIN_SECONDS})
        self._drain()
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, setattr, self, "should_exit", True)


def build_server(app: FastAPI, settings: Settings, certificate: Certificate) -> Server:
    """uvicorn as this app needs it: one worker, HTTP/1.1, TLS, no access log of its own (it would log queries)."""

    def drain() -> None:
        services: Services = app.state.services
        services.draining = True

    config = uvicorn.Config(
        app,
        host="0.0.0.0",
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,  # longer than a load balancer keeps an idle connection: it closes first
        timeout_graceful_shutdown=FINISH_SECONDS,
        ssl_context_factory=lambda _config, _default: certificate.context,
    )
    return Server(config, drain)


async def serve(app: FastAPI, settings: Settings) -> None:
    """Until a signal ends it."""
    certificate = Certificate(settings.certificate, settings.private_key)
    watcher = asyncio.create_task(certificate.watch())
    try:
        await build_server(app, settings, certificate).serve()
    finally:
        watcher.cancel()
