"""Which certificate the app's pods show to clients, asked of each by a handshake: they have no other way to tell.

A pod reads its certificate again when the kubelet has changed the file, so once seen with one it is not asked again
for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Mapping, Sequence
from typing import Protocol

from okitoki.kube import names
from okitoki.kube.pki import ID_DIGITS
from okitoki.kube.resources import Manifest

TIMEOUT_SECONDS = 2.0
REMEMBERED = 20_000


class Handshake(Protocol):
    """How a server is asked."""

    async def __call__(self, address: str, port: int) -> str | None:
        """The certificate (its id) that the server shows; None when nothing listens; empty when it does not answer."""
        ...


class ShownCertificates:
    """Asks, and remembers."""

    def __init__(self, handshake: Handshake | None = None) -> None:
        self._handshake = handshake or tls_handshake
        self._seen: dict[str, str] = {}

    async def of(self, pods: Sequence[Manifest], wanted: str) -> Mapping[str, str]:
        """Certificate by pod, of those that listen; `wanted` is the one that they were given."""
        running = [pod for pod in pods if _runs(pod)]
        unsure = [pod for pod in running if self._seen.get(pod["metadata"]["uid"]) != wanted]
        asked = [self._handshake(pod["status"]["podIP"], names.APP_PORT) for pod in unsure]
        if len(self._seen) > REMEMBERED:
            self._seen.clear()
        answers = dict(zip((pod["metadata"]["uid"] for pod in unsure), await asyncio.gather(*asked), strict=True))
        self._seen |= {uid: shown for uid, shown in answers.items() if shown}
        found = {pod["metadata"]["name"]: answers.get(pod["metadata"]["uid"], wanted) for pod in running}
        return {name: shown for name, shown in found.items() if shown is not None}


async def tls_handshake(address: str, port: int) -> str | None:
    """See `Handshake`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The question is what is shown, to whomever; nothing is said or believed on this connection.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(address, port, ssl=context)
            try:
                der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                writer.transport.abort()
    except ConnectionRefusedError:
        return None
    except (OSError, TimeoutError):
        return ""
    return hashlib.sha256(der or b"").hexdigest()[:ID_DIGITS]


def _runs(pod: Manifest) -> bool:
    status = pod.get("status") or {}
    ends = bool(pod["metadata"].get("deletionTimestamp"))
    return status.get("phase") == "Running" and bool(status.get("podIP")) and not ends
