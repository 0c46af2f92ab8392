"""The app's view of its cluster: what each member said last, who is the primary, and the connections to it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from callcentre.database.connection import Connection
from callcentre.database.decisions import (
    Answer,
    Identity,
    Observation,
    PoolAction,
    choose_primary,
    describe,
    pool_action,
)
from callcentre.database.members import Member
from callcentre.database.pool import Pool

log = logging.getLogger(__name__)

OpenConnection = Callable[[Member, float], Awaitable[Connection]]


class Primary:
    """The primary in one of its lives, with its connections."""

    def __init__(self, identity: Identity, member: Member, pool: Pool) -> None:
        self.identity = identity
        self.member = member
        self.pool = pool


class Cluster:
    """Told by the probes (`answered`, `failed`) and the attempts (`demoted`); asked by the requests (`wait`)."""

    def __init__(self, members: Iterable[Member], open_connection: OpenConnection) -> None:
        self.members = tuple(members)
        self._by_name = {member.name: member for member in self.members}
        self._open = open_connection
        self._seen: dict[str, Observation] = {member.name: Observation() for member in self.members}
        self._primary: Primary | None = None
        self._reason = "no member has been probed yet"
        self._changed: asyncio.Future[None] | None = None
        self.primary_seen: float | None = None
        """When a member last answered as the primary (monotonic s)."""

    @property
    def primary(self) -> Primary | None:
        return self._primary

    @property
    def reason(self) -> str:
        """Why the primary is who it is, or why there is none."""
        return self._reason

    def answered(self, name: str, answer: Answer) -> None:
        """A probe was answered."""
        self._seen[name] = Observation(answer)
        self.evaluate(answer.at)

    def failed(self, name: str, reason: str) -> None:
        """The member refused or broke its probe's connection: unlike silence that is certain at once."""
        if self._seen[name].failure != reason:
            log.info("member does not answer", extra={"member": name, "reason": reason})
        self._seen[name] = Observation(self._seen[name].answer, reason)
        self.evaluate(time.monotonic())

    def demoted(self, primary: Primary, reason: str) -> None:
        """An attempt found that the member is not writable; believed until its next probe is answered."""
        if primary is self._primary:
            self.failed(primary.member.name, reason)

    def evaluate(self, now: float) -> None:
        """Choose again; called on every answer and, since silence brings none, on every tick of the probes."""
        choice = choose_primary(self._seen, now)
        self._reason = choice.reason
        wanted = self._identity(choice.primary)
        if wanted is not None:
            answer = self._seen[wanted.member].answer
            self.primary_seen = answer.at if answer else self.primary_seen
        current = self._primary.identity if self._primary else None
        action, reason = pool_action(current, wanted)
        if action is PoolAction.KEEP:
            return
        log.info("primary changed", extra={"primary": wanted.member if wanted else None, "reason": reason})
        if self._primary is not None:
            self._primary.pool.drop(reason)
        self._primary = self._enter(wanted) if wanted is not None else None
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    def _identity(self, name: str | None) -> Identity | None:
        answer = self._seen[name].answer if name is not None else None
        if name is None or answer is None:
            return None
        return Identity(name, answer.timeline, answer.started)

    def _enter(self, identity: Identity) -> Primary:
        member = self._by_name[identity.member]
        return Primary(identity, member, Pool(lambda limit: self._open(member, limit)))

    async def changed(self, limit: float) -> bool:
        """Wait until the primary changes in any way, at most `limit` seconds; whether it did."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait({self._changed}, timeout=max(limit, 0.0))
        return bool(done)

    async def wait(self, limit: float) -> Primary | None:
        """The primary, as soon as there is one within `limit` seconds."""
        end = time.monotonic() + limit
        while self._primary is None:
            remaining = end - time.monotonic()
            if remaining <= 0:
                return None
            await self.changed(remaining)
        return self._primary

    def report(self, now: float) -> list[dict[str, object]]:
        """Members for `/readyz`: name, role, age of the last answer in seconds, state in words."""
        rows: list[dict[str, object]] = []
        for name, seen in self._seen.items():
            answer = seen.answer
            alive = answer is not None and seen.failure is None
            role = None if answer is None else "standby" if answer.in_recovery else "primary"
            rows.append(
                {
                    "name": name,
                    "role": role if alive else None,
                    "age": round(now - answer.at, 3) if answer else None,
                    "state": describe(seen, now),
                }
            )
        return rows

    def close(self) -> None:
        """Drop all connections at the end of the process."""
        if self._primary is not None:
            self._primary.pool.drop("shutting down")
            self._primary = None
