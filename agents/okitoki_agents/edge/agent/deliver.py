"""Takes ended calls from this node's Redis to the tenants' apps, and closes calls that nobody ended.

At least once, with one effect: both nodes of the pair deliver, the app knows the key. A record leaves Redis only
after the app's answer. Nothing here is in a hurry: a record waits as long as its tenant's app is away.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import redis.asyncio
import redis.exceptions

from okitoki_agents.edge.agent import call_records, ng
from okitoki_agents.edge.agent.app_client import Answer, AppUnreachableError
from okitoki_agents.edge.agent.call_records import DEAD_PREFIX, PREFIX, Verdict

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
CLOSE_EVERY_SECONDS = 20.0
CLOSE_AFTER_SECONDS = 60.0
"""An engine that restarts is without its calls for a moment: a call counts as over when no engine here has known it for
this long. rtpengine itself gives a silent call up after its `timeout` (60 s)."""
CLOSE_FOREIGN_AFTER_SECONDS = 600.0
"""The same where the peer holds the call's media address: it may go on there, and the peer closes it on both nodes."""
BATCH = 200
PARALLEL = 8

Send = Callable[[str, str, dict[str, Any]], Awaitable[Answer]]
"""(tenant, path, document) -> answer of the tenant's app; raises AppUnreachableError, KeyError for an unknown
tenant."""
KnowsCall = Callable[[str], Awaitable[bool]]
"""Call-ID -> whether an engine of this node holds the call; raises NgError when that cannot be told."""
HoldsMedia = Callable[[str], bool]
"""Number of a media address ("1", "2") -> whether this node holds it."""
Clock = Callable[[], float]


class Deliverer:
    """Delivery from one Redis. `counts`: how many were delivered, closed, dead-lettered since the start."""

    def __init__(
        self,
        own: redis.asyncio.Redis,
        peer: Callable[[], redis.asyncio.Redis | None],
        send: Send,
        knows_call: KnowsCall,
        holds_media: HoldsMedia,
        clock: Clock = time.time,
    ) -> None:
        self._own, self._peer, self._send, self._clock = own, peer, send, clock
        self._knows_call, self._holds_media = knows_call, holds_media
        self._unknown_since: dict[str, float] = {}
        self._complaints: dict[str, str] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self.counts = {"delivered": 0, "closed": 0, "dead": 0}
        self.dead_letters = 0
        self.waiting = 0
        self.live = 0

    async def run(self) -> None:
        """Sweep until cancelled."""
        closed = 0.0
        while True:
            try:
                open_calls = await self.sweep()
                if self._clock() - closed >= CLOSE_EVERY_SECONDS:
                    closed = self._clock()
                    await self.close_lost(open_calls)
                self._complain("redis", None)
            except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
                self._complain("redis", f"{type(error).__name__} {error}")
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> dict[str, dict[str, str]]:
        """Start the delivery of all ended calls; returns those that are not over, by key. Raises RedisError."""
        open_calls: dict[str, dict[str, str]] = {}
        ended: dict[str, dict[str, str]] = {}
        keys = [key async for key in self._own.scan_iter(match=f"{PREFIX}*", count=1000)]
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            async with self._own.pipeline(transaction=False) as pipe:
                for key in batch:
                    pipe.hgetall(key)
                # A key that expired or is of another type must not stop the others.
                found = await pipe.execute(raise_on_error=False)
            for key, fields in zip(batch, found, strict=True):
                if isinstance(fields, dict) and fields:
                    (ended if "ended" in fields else open_calls)[key] = fields
        self.waiting, self.live = len(ended), len(open_calls)
        by_tenant: dict[str, dict[str, dict[str, str]]] = {}
        for key, fields in ended.items():
            by_tenant.setdefault(fields.get("tenant", ""), {})[key] = fields
        for tenant, records in by_tenant.items():
            # One tenant's slow app is no reason to keep another's records.
            if tenant not in self._busy:
                task = asyncio.create_task(self._deliver_all(records))
                self._busy[tenant] = task
                task.add_done_callback(lambda _, tenant=tenant: self._busy.pop(tenant))  # type: ignore[misc]
        self.dead_letters = len([key async for key in self._own.scan_iter(match=f"{DEAD_PREFIX}*", count=1000)])
        return open_calls

    async def idle(self) -> None:
        """Wait until no delivery is under way."""
        while self._busy:
            await asyncio.wait(list(self._busy.values()))

    async def _deliver_all(self, records: Mapping[str, Mapping[str, str]]) -> None:
        """Deliver the records of one tenant, a few at a time, until one of them has to wait."""
        waiting = list(records.items())
        try:
            for start in range(0, len(waiting), PARALLEL):
                batch = waiting[start : start + PARALLEL]
                if not all(await asyncio.gather(*(self.deliver(key, fields) for key, fields in batch))):
                    return
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            self._complain("redis", f"{type(error).__name__} {error}")

    async def deliver(self, key: str, fields: Mapping[str, str]) -> bool:
        """Deliver one ended call and delete it; False when it has to wait. Raises RedisError."""
        tenant = fields.get("tenant", "")
        try:
            document = call_records.document_of(key, fields)
        except call_records.RecordError as error:
            await self._bury(key, f"not a call record: {error}")
            return True
        try:
            answer = await self._send(tenant, call_records.path_of(key), document)
        except KeyError:
            # Its Secret may come back (the operator makes it anew); a record is never thrown away.
            self._complain(f"tenant {tenant}", "is not known here, its call records wait")
            return False
        except AppUnreachableError as error:
            self._complain(f"tenant {tenant}", f"call records wait: {error}")
            return False
        match call_records.verdict(answer.status):
            case Verdict.DELIVERED:
                await self._own.delete(key)
                self.counts["delivered"] += 1
                self._complain(f"tenant {tenant}", None)
            case Verdict.DEAD:
                await self._bury(key, f"the app answered {answer.status}: {answer.body[:300].decode(errors='replace')}")
            case Verdict.RETRY:
                self._complain(f"tenant {tenant}", f"call records wait: the app answered {answer.status}")
                return False
        return True

    async def close_lost(self, open_calls: Mapping[str, Mapping[str, str]]) -> None:
        """End the calls that no engine of this node has known for long enough. Raises RedisError."""
        now = self._clock()
        for gone in set(self._unknown_since) - set(open_calls):
            del self._unknown_since[gone]
        for key, fields in open_calls.items():
            here = self._holds_media(fields.get("media", ""))
            patience = CLOSE_AFTER_SECONDS if here else CLOSE_FOREIGN_AFTER_SECONDS
            try:
                known = await self._knows_call(call_records.call_id_of(key))
            except ng.NgError:
                # Without an engine nothing is known about any call.
                self._unknown_since.clear()
                return
            if known:
                self._unknown_since.pop(key, None)
            elif now - self._unknown_since.setdefault(key, now) >= patience:
                await self._close(key, int(self._unknown_since.pop(key) * 1000))

    async def _close(self, key: str, ended: int) -> None:
        """End one call in both Redis, with the peer's word on it if it has one."""
        end = {"ended": str(ended), "endReason": call_records.MEDIA_TIMEOUT}
        peer = self._peer()
        if peer is not None:
            try:
                theirs = await peer.hgetall(key)
                if theirs.get("ended") and theirs.get("endReason"):
                    end = {"ended": str(theirs["ended"]), "endReason": str(theirs["endReason"])}
                elif theirs:
                    await peer.hset(key, items=["ended", end["ended"], "endReason", end["endReason"]])
            except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
                log.warning("closing a call without the peer: %s %s", type(error).__name__, error)
        # Only if it is still there and open: Kamailio may have ended it this moment.
        if await self._own.exists(key) and await self._own.hsetnx(key, "endReason", end["endReason"]):
            await self._own.hset(key, "ended", end["ended"])
            self.counts["closed"] += 1
            log.info("call %s is over, no engine knows it: %s", key.removeprefix(PREFIX), end["endReason"])

    async def _bury(self, key: str, reason: str) -> None:
        log.error("call record %s can never be delivered and is kept under %s: %s", key, DEAD_PREFIX + key, reason)
        await self._own.hset(key, "undeliverable", reason)
        await self._own.rename(key, DEAD_PREFIX + key)
        self.counts["dead"] += 1

    def _complain(self, subject: str, problem: str | None) -> None:
        """Log a problem when it is new and its end; None is the end."""
        before = self._complaints.get(subject)
        if problem == before:
            return
        if problem is None:
            self._complaints.pop(subject)
            log.info("%s: good again", subject)
        else:
            self._complaints[subject] = problem
            log.warning("%s: %s", subject, problem)
