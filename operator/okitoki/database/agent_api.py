"""The operator's side of the database agents' HTTP (docs/interfaces.md, "Tenant namespace")."""

from __future__ import annotations

import aiohttp

from okitoki.kube import names

HANDOVER_SECONDS = 30.0
"""A checkpoint while writes go on, the hand-over, the old primary's demotion; the agent itself ends at 25 s."""


class AgentError(Exception):
    """The agent did not answer, or refused; its reason in words."""


class AgentApi:
    """Calls to the agent of one member, by its pod's address."""

    def __init__(self, port: int = names.DATABASE_AGENT_PORT) -> None:
        self._port = port

    async def handover(self, address: str, password: str, to: str | None = None) -> str:
        """Have the primary at `address` give its role to a synchronous standby, to `to` if one is named; the agent's
        word. Raises `AgentError`.

        The same call that its pod makes before it stops: with the consent of the voters and no loss of writes, and
        nothing changes when one of them refuses.
        """
        url = f"http://{address}:{self._port}/v1/handover"
        timeout = aiohttp.ClientTimeout(total=HANDOVER_SECONDS, connect=3.0)
        headers = {"Authorization": f"Bearer {password}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, json={"to": to} if to else {}, headers=headers) as response,
            ):
                answer = await response.json(content_type=None)
                reason = str(answer["reason"])
                if response.status != 200 or answer["yes"] is not True:
                    raise AgentError(reason)
                if to and not reason.startswith(f"{to} "):
                    raise AgentError(f"{reason}: the agents are of a version that cannot be told who, ask again later")
                return reason
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AgentError(f"the agent gave no answer, look who is the primary: {type(error).__name__}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise AgentError(f"the agent's answer is none: {type(error).__name__}") from error
