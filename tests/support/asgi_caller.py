"""A client that may leave before it has its answer: httpx's transport to an application cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fastapi import FastAPI
from starlette.types import Message, Scope


class Caller:
    """One request, a POST if it has a body, which arrives in two pieces."""

    def __init__(self, app: FastAPI, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._scope: Scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST" if body else "GET",
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        if body:
            self._messages.put_nowait({"type": "http.request", "body": body[:1], "more_body": True})
        self._messages.put_nowait({"type": "http.request", "body": body[1:], "more_body": False})
        self.sent: list[Message] = []

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.leave()  # as servers do: it wakes who waits for the client's end
            await asyncio.sleep(0.01)

    def leave(self) -> None:
        """Close the connection."""
        self._messages.put_nowait({"type": "http.disconnect"})

    async def call(self) -> None:
        """Until the application is done with it."""
        await self._app(self._scope, self._messages.get, self._send)
