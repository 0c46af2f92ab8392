"""One API user's HTTPS connections: to the region's address under the tenant's host name, certificate verified.

urllib3 rather than Locust's own sessions: those repeat some requests by themselves, which would hide raw failures, and
cannot be told an address apart from the name.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gevent
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from okitoki_load.attempts import Attempt
from okitoki_load.client import (
    CONNECT_SECONDS,
    KEEPALIVE_IDLE_SECONDS,
    KEEPALIVE_INTERVAL_SECONDS,
    KEEPALIVE_PROBES,
    UNACKNOWLEDGED_MILLISECONDS,
)
from okitoki_load.ledger import FAIL, UNKNOWN
from okitoki_locust.options import Target

# The same as the API writer's: a peer that is gone is noticed within seconds (see okitoki_load.client).
SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MILLISECONDS),
]


@dataclass(frozen=True)
class Reply:
    """An answer: status, JSON (None when it is none), and its size in bytes."""

    status: int
    body: Any
    size: int


class DeadlineError(TimeoutError):
    """No answer within the time that was left; it may have been sent."""


class Client:
    """Connections of one user; usable from many greenlets."""

    def __init__(self, target: Target, key: str, connections: int) -> None:
        context = ssl.create_default_context(cafile=str(target.ca) if target.ca else None)
        self._pool = urllib3.HTTPSConnectionPool(
            target.address,
            target.port,
            maxsize=connections,
            block=True,
            retries=False,
            ssl_context=context,
            server_hostname=target.host,
            assert_hostname=target.host,
            socket_options=SOCKET_OPTIONS,
        )
        name = target.host if target.port == 443 else f"{target.host}:{target.port}"
        self._headers = {"Host": name, "Authorization": f"Bearer {key}", "Accept": "application/json"}

    def request(
        self, method: str, path: str, *, limit: float, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One exchange within `limit` seconds, never repeated. Raises urllib3's HTTPError or DeadlineError."""
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        with gevent.Timeout(limit, DeadlineError(f"no answer within {limit:.1f} s")):
            response = self._pool.request(
                method,
                path,
                body=content,
                headers={**self._headers, **kind, **(headers or {})},
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, limit), read=limit),
                redirect=False,
            )
        try:
            return Reply(response.status, json.loads(response.data) if response.data else None, len(response.data))
        except ValueError:
            return Reply(response.status, None, len(response.data))

    def close(self) -> None:
        self._pool.close()


def judge_error(error: Exception) -> Attempt:
    """What a failed exchange means: without a connection nothing was sent."""
    if isinstance(error, SSLError) and _is_certificate_error(error):
        return Attempt(FAIL, "the certificate is not valid", again=False)
    if isinstance(error, NewConnectionError | ConnectTimeoutError):
        return Attempt(FAIL, type(error).__name__, again=True)
    return Attempt(UNKNOWN, type(error).__name__, again=True)


def _is_certificate_error(error: BaseException) -> bool:
    causes = (*error.args, error.__cause__, error.__context__)
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)


FAILURES = (HTTPError, TimeoutError, OSError)
