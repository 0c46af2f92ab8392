"""What agents say to each other: whether a primary is dead, and to cut the stream from it.

Plain HTTP between the members' pods, which a NetworkPolicy closes to everybody else; the token is Patroni's own.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from okitoki_agents.database.decisions import Verdict

PORT = 8009
CONSENT_SECONDS = 0.5
CUT_SECONDS = 3.0
WITHDRAW_SECONDS = 0.5

Handler = Callable[[Mapping[str, Any]], Awaitable[Verdict]]


class Peers:
    """Questions to the other agents. No answer is a refusal: without the voter's word nothing may be done."""

    def __init__(self, token: str, address: Callable[[str], str | None], session: aiohttp.ClientSession) -> None:
        self._token, self._address, self._session = token, address, session

    async def ask(
        self, members: frozenset[str], what: str, body: Mapping[str, Any], limit: float
    ) -> dict[str, Verdict]:
        """The same question to several members at once."""
        order = sorted(members)
        answers = await asyncio.gather(*(self._one(member, what, body, limit) for member in order))
        return dict(zip(order, answers, strict=True))

    async def _one(self, member: str, what: str, body: Mapping[str, Any], limit: float) -> Verdict:
        address = self._address(member)
        if address is None:
            return Verdict(False, f"{member} has no address")
        try:
            async with self._session.post(
                f"http://{address}:{PORT}/v1/{what}",
                json=dict(body),
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=aiohttp.ClientTimeout(total=limit),
            ) as response:
                found = await response.json()
                if response.status != 200:
                    return Verdict(False, f"{member} answers {response.status}")
                return Verdict(found["yes"] is True, str(found["reason"]))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
            return Verdict(False, f"{member} does not answer ({type(error).__name__})")


def application(
    token: str, handlers: Mapping[str, Handler], status: Callable[[], Mapping[str, Any]]
) -> web.Application:
    """The agent's HTTP side: `POST /v1/NAME` for each handler, `GET /healthz`, `GET /status`."""
    expected = f"Bearer {token}".encode()

    async def call(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            return web.json_response({"yes": False, "reason": "wrong token"}, status=401)
        handler = handlers.get(request.match_info["name"])
        if handler is None:
            return web.json_response({"yes": False, "reason": "no such question"}, status=404)
        try:
            verdict = await handler(await request.json())
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"yes": False, "reason": f"bad question: {error!r}"}, status=400)
        return web.json_response({"yes": verdict.yes, "reason": verdict.reason})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def tell(_: web.Request) -> web.Response:
        return web.json_response(dict(status()))

    app = web.Application()
    app.router.add_post("/v1/{name}", call)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/status", tell)
    return app
