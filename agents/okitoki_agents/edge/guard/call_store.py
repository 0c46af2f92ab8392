"""The calls of one media address in a node's Redis, as that node's engine writes them."""

from __future__ import annotations

from collections.abc import Iterable

from okitoki_agents.edge import resp
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.guard.calls import Calls

_SECONDS = 0.5
"""Short: an address that has come waits for it, and a Redis that does not answer by then is away."""


_OWNER = "owner-of-media-{}"
"""A channel: what is said there is kept by nobody, so whoever hears it hears it now."""
_AMEND = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') end"


class CallStore:
    """Database `number` of the Redis at `host`. Each method raises OSError, TimeoutError or resp.RespError."""

    def __init__(self, facts: Facts, number: int, host: str) -> None:
        self._address = (host, facts.region.ports.redis)
        self._password = facts.redis_password
        self._number = str(number)

    async def ids(self) -> set[str]:
        return {key.decode() for key in await self._keys()}

    async def any(self) -> bool:
        """Whether there are calls at all."""
        return bool((await self._call(("DBSIZE",)))[0])

    async def calls(self) -> Calls:
        keys = await self._keys()
        if not keys:
            return {}
        values = await self._list("MGET", *keys)
        # A call that ended in between has no value any more.
        return {key.decode(): value for key, value in zip(keys, values, strict=True) if isinstance(value, bytes)}

    async def amend(self, call: str, before: bytes, after: bytes) -> None:
        """Write a call anew, unless it is not what it was any more; who follows this Redis reads it again."""
        await self._call(("EVAL", _AMEND, "1", call, before, after))

    async def forget(self, calls: Iterable[str]) -> None:
        """Delete ended calls; who follows this Redis ends them too."""
        if keys := tuple(calls):
            await self._call(("DEL", *keys))

    async def empty(self) -> None:
        """Delete all calls, without a word to who follows this Redis."""
        await self._call(("FLUSHDB",))

    async def announce(self, event: str, calls: Iterable[str]) -> bool:
        """Tell the engine that follows this Redis of calls once more, as if they had just been written (`set`) or
        deleted (`del`). It reads a written one from here, and drops what it knew; unless the call is its own, when it
        takes no notice. False: nobody listens."""
        messages = [("PUBLISH", f"__keyspace@{self._number}__:{call}", event) for call in calls]
        return all(await self._call(*messages)) if messages else True

    async def say_owned(self) -> None:
        """Say once that this Redis is that of the calls' owner."""
        await self._call(("PUBLISH", _OWNER.format(self._number), "owned"))

    async def owned(self, seconds: float) -> bool:
        """Whether its guard says so from now on, within `seconds`."""
        return await resp.heard(self._address, self._password, _OWNER.format(self._number), seconds)

    async def _keys(self) -> list[bytes]:
        return [key for key in await self._list("KEYS", "*") if isinstance(key, bytes)]

    async def _list(self, *command: str | bytes) -> list[resp.Reply]:
        (reply,) = await self._call(command)
        if not isinstance(reply, list):
            raise resp.RespError(f"{command[0]!r} is answered by no list")
        return reply

    async def _call(self, *commands: tuple[str | bytes, ...]) -> list[resp.Reply]:
        replies = await resp.call(self._address, self._password, ("SELECT", self._number), *commands, seconds=_SECONDS)
        return replies[1:]
