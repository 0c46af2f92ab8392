"""A Redis of one process: what the agent uses of redis.asyncio, with the same answers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any

import redis.exceptions


class FakeRedis:
    """Hashes by key. `down` makes every command fail like a connection that is refused."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[str, str]] = {}
        self.down = False

    def _check(self) -> None:
        if self.down:
            raise redis.exceptions.ConnectionError("refused")

    async def ping(self) -> bool:
        self._check()
        return True

    async def scan_iter(self, match: str, count: int) -> AsyncIterator[str]:
        self._check()
        for key in list(self.hashes):
            if fnmatchcase(key, match):
                yield key

    async def hgetall(self, key: str) -> dict[str, str]:
        self._check()
        return dict(self.hashes.get(key, {}))

    async def hset(
        self, key: str, field: str | None = None, value: str | None = None, items: list[str] | None = None
    ) -> None:
        self._check()
        target = self.hashes.setdefault(key, {})
        if field is not None and value is not None:
            target[field] = value
        for name, content in zip((items or [])[::2], (items or [])[1::2], strict=True):
            target[name] = content

    async def hsetnx(self, key: str, field: str, value: str) -> int:
        self._check()
        if field in self.hashes.setdefault(key, {}):
            return 0
        self.hashes[key][field] = value
        return 1

    async def exists(self, key: str) -> int:
        self._check()
        return int(key in self.hashes)

    async def delete(self, key: str) -> int:
        self._check()
        return int(self.hashes.pop(key, None) is not None)

    async def rename(self, old: str, new: str) -> None:
        self._check()
        self.hashes[new] = self.hashes.pop(old)

    async def aclose(self) -> None:
        """Nothing to close."""

    def pipeline(self, transaction: bool) -> "FakePipeline":
        return FakePipeline(self)


class FakePipeline:
    """Commands that are answered together."""

    def __init__(self, owner: FakeRedis) -> None:
        self._owner = owner
        self._commands: list[Callable[[], Awaitable[Any]]] = []

    async def __aenter__(self) -> "FakePipeline":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to release."""

    def hgetall(self, key: str) -> None:
        self._commands.append(lambda: self._owner.hgetall(key))

    async def execute(self, raise_on_error: bool) -> list[Any]:
        return [await command() for command in self._commands]
