"""Changes of what is configured: agents, queues, numbers, keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from callcentre.database.connection import Database


class NotFoundError(Exception):
    """`what` does not exist."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} does not exist")


class ConflictError(Exception):
    """The request contradicts what is stored. `code` for programs, the message names the mend."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RestrictedError(Exception):
    """The platform has taken the operators' access away."""


class InvalidReferenceError(Exception):
    """A field names something that does not exist."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@asynccontextmanager
async def change(session: Database) -> AsyncIterator[None]:
    """A transaction that changes the configuration: one at a time, never without WAL, seen by the edge's poll."""
    async with session.transaction():
        await session.execute("update configuration set version = gen_random_uuid()")
        yield
