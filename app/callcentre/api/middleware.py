"""What happens around every request: a bound on its size and on their number, an end when its client goes, one line in
the log."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callcentre.api.errors import RETRY_AFTER, error_response

BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body. The largest legitimate one is the platform's list of a tenant's numbers."""

REQUESTS_HELD = 1000
"""Requests in progress. During an outage of the database they pile up; past this more would only cost memory."""

PROBES = ("/healthz", "/readyz")

log = logging.getLogger("callcentre.access")


class Bounds:
    """Answers 413 to a body that is too large, announced or not, and 503 when too many requests are held."""

    def __init__(self, app: ASGIApp, body_limit: int = BODY_LIMIT, requests_held: int = REQUESTS_HELD) -> None:
        self._app = app
        self._body_limit = body_limit
        self._requests_held = requests_held
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if self._announced(scope) > self._body_limit:
            await error_response(413, "too_large", self._too_large())(scope, receive, send)
            return
        if self._held >= self._requests_held:
            headers = {"Retry-After": RETRY_AFTER}
            message = "too many requests are waiting here; nothing was done, send the request again"
            await error_response(503, "overloaded", message, headers=headers)(scope, receive, send)
            return
        self._held += 1
        try:
            await self._app(scope, self._counting(receive), send)
        finally:
            self._held -= 1

    def _announced(self, scope: Scope) -> int:
        for name, value in scope["headers"]:
            if name == b"content-length":
                return int(value)  # the HTTP parser has refused anything but digits
        return 0

    def _too_large(self) -> str:
        return f"the body is larger than {self._body_limit} bytes; send less"

    def _counting(self, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._body_limit:
                raise HTTPException(413, self._too_large())
            return message

        return counted


CLIENT_GONE = 499
"""What the log says of a request whose client left before the answer (nginx's number; nothing is sent)."""


class Departures:
    """Ends a request whose client closed its connection: nobody will get the answer.

    The edge's proxy sends a request that got no answer to another pod (docs/interfaces.md). Held on here, this copy
    would be carried out too: after an outage the apps would have more to do than their clients ever asked for.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        messages: asyncio.Queue[Message] = asyncio.Queue(1)  # one: a body is read as fast as the app takes it
        answering = False

        async def watch() -> None:
            message: Message = {"type": ""}
            while message["type"] != "http.disconnect":
                message = await receive()
                # Servers say "disconnect" after the answer too.
                if message["type"] == "http.disconnect" and not answering:
                    held.reschedule(asyncio.get_running_loop().time())
                await messages.put(message)

        async def sending(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            async with asyncio.timeout(None) as held:
                watching = asyncio.create_task(watch())
                try:
                    await self._app(scope, messages.get, sending)
                finally:
                    watching.cancel()
        except TimeoutError:
            if not held.expired():
                raise


class AccessLog:
    """One line for each request: no header, no query, no body. Probes that succeed are not worth a line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = 500
        draining = scope["app"].state.services.draining

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if draining:  # so that a load balancer's kept connections go elsewhere before this process ends
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            status = CLIENT_GONE
            raise
        finally:
            if status >= 400 or scope["path"] not in PROBES:
                log.info(
                    "request",
                    extra={
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status,
                        "milliseconds": round((time.monotonic() - began) * 1000, 1),
                    },
                )
