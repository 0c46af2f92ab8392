"""A TLS server that shows a certificate and hangs up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from okitoki.kube.pki import KeyPair


@asynccontextmanager
async def tls_server(folder: Path, pair: KeyPair) -> AsyncIterator[int]:
    """Its port; `folder` is where the pair's files are put."""
    (folder / "crt").write_text(pair.certificate)
    (folder / "key").write_text(pair.key)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "crt", folder / "key")
    running = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    async with running:
        yield running.sockets[0].getsockname()[1]
