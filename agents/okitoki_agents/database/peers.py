"""What agents say to each other: whether a primary is dead, and to cut the stream from it.

Plain HTTP between the members' pods, which a NetworkPolicy closes to everybody but the operator (it asks for
a hand-over); the token is Patroni's own.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from okitoki_agents.database.decisions import Position, Verdict

PORT = 8009
CONSENT_SECONDS = 0.5
CUT_SECONDS = 3.0
WITHDRAW_SECONDS = 0.5
HANDOVER_SECONDS = 25.0


@dataclass(frozen=True)
class Answer:
    """An agent's answer. With the confirmation of a cut come the server's position and whether its Patroni answers."""

    verdict: Verdict
    position: Position | None = None
    patroni: bool = False

    def as_json(self) -> dict[str, Any]:
        """What goes over the wire."""
        position = None if self.position is None else [self.position.timeline, self.position.byte]
        return {
            "yes": self.verdict.yes,
            "reason": self.verdict.reason,
            "position": position,
            "patroni": self.patroni,
        }

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Answer:
        """Raises KeyError, TypeError, ValueError when it is no answer."""
        position = Position(*map(int, found["position"])) if found["position"] is not None else None
        return cls(Verdict(found["yes"] is True, str(found["reason"])), position, found["patroni"] is True)


def refusal(reason: str) -> Answer:
    """No, and why."""
    return Answer(Verdict(False, reason))


Handler = Callable[[Mapping[str, Any]], Awaitable[Answer]]


class Peers:
    """Questions to the other agents. No answer is a refusal: without the voter's word nothing may be done."""

    def __init__(self, token: str, address: Callable[[str], str | None], session: aiohttp.ClientSession) -> None:
        self._token, self._address, self._session = token, address, session

    async def ask(self, members: frozenset[str], what: str, body: Mapping[str, Any], limit: float) -> dict[str, Answer]:
        """The same question to several members at once."""
        order = sorted(members)
        answers = await asyncio.gather(*(self._one(member, what, body, limit) for member in order))
        return dict(zip(order, answers, strict=True))

    async def _one(self, member: str, what: str, body: Mapping[str, Any], limit: float) -> Answer:
        address = self._address(member)
        if address is None:
            return refusal(f"{member} has no address")
        try:
            async with self._session.post(
                f"http://{address}:{PORT}/v1/{what}",
                json=dict(body),
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=aiohttp.ClientTimeout(total=limit),
            ) as response:
                found = await response.json()
                if response.status != 200:
                    return refusal(f"{member} answers {response.status}")
                return Answer.of(found)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
            return refusal(f"{member} does not answer ({type(error).__name__})")


def application(
    token: str, handlers: Mapping[str, Handler], status: Callable[[], Mapping[str, Any]]
) -> web.Application:
    """The agent's HTTP side: `POST /v1/NAME` for each handler, `GET /healthz`, `GET /status`."""
    expected = f"Bearer {token}".encode()

    async def call(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            return web.json_response(refusal("wrong token").as_json(), status=401)
        handler = handlers.get(request.match_info["name"])
        if handler is None:
            return web.json_response(refusal("no such question").as_json(), status=404)
        try:
            answer = await handler(await request.json())
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response(refusal(f"bad question: {error!r}").as_json(), status=400)
        return web.json_response(answer.as_json())

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def tell(_: web.Request) -> web.Response:
        return web.json_response(dict(status()))

    app = web.Application()
    app.router.add_post("/v1/{name}", call)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/status", tell)
    return app
