"""Makes a tenant's agents and queues through the public API, whatever is there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Caller(Protocol):
    """What this needs of a client."""

    async def need(self, method: str, path: str, *expected: int, body: Any = None) -> tuple[int, Any]: ...


async def provision(api: Caller, queues: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Have these agents, with fresh secrets, in these queues. Returns username -> SIP secret."""
    secrets: dict[str, str] = {}
    for username in sorted({agent for agents in queues.values() for agent in agents}):
        body = {"username": username, "displayName": f"Agent {username}"}
        status, answer = await api.need("POST", "/v1/agents", 201, 409, body=body)
        if status == 409:  # of an earlier run; secrets are shown once, so it gets a new one
            _, answer = await api.need("POST", f"/v1/agents/{username}/sip-secret", 200, 201)
        secrets[username] = answer["sipSecret"]
    for queue, agents in queues.items():
        await api.need("PUT", f"/v1/queues/{queue}", 200, 201, body={"agents": list(agents)})
    return secrets
