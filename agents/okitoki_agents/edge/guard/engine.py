"""Orders to this node's engines when a media address comes or goes (rtpengine's CLI, rtpengine-ctl(1)), and keeping
both nodes' knowledge of the calls in step.

Audio does not wait for any of this: an engine that gets a call's packets makes the call its own (active-switchover).
What it does not do is write it to its own Redis, and it takes no notice of what the peer says of an own call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from okitoki_agents.edge import engine_port, render, resp
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.guard import calls
from okitoki_agents.edge.guard.call_store import CallStore

log = logging.getLogger(__name__)

_CLI_TIMEOUT = 1.0
_RETRY = 0.2
SETTLE = 0.6
"""Seconds that an address must have been here before the engine writes its calls: what flaps for less leaves them where
they were."""
GIVE_UP = 1.2
"""Seconds that it must have been gone before the peer is asked; by then one that has it has written its calls."""
HEARKEN = 1.0
"""Seconds for which the peer's word is waited for, which comes every 0.4 s (`main.SPEAK_EVERY`)."""
RESTORE = 0.05
"""Seconds that an engine has to read again the calls that it was told of."""
STALE = 10.0
"""Seconds after the loss of an address when what the own Redis says of calls helps nobody any more."""
_CLOCKS = 5.0
"""Seconds that both nodes' clocks may differ."""
_LISTENS = 20
"""Tries, `_RETRY` seconds apart, until the engine has subscribed to the peer's Redis again."""


class Engine:
    """The engine of media address `number` on this node.

    The address has come and stays: what the peer's Redis knows better (a call answered there a moment ago) is heard
    first, and what has not been heard at all; then `active` makes every call the engine knows its own and writes it to
    the own Redis, from where the peer has it.

    The address has gone, and the peer says that it has it: `standby` makes the calls the peer's, or the engine would
    ignore what the peer says of them; and what it ignored since is heard. As long as the peer says nothing all calls
    are kept as they are (`calls.released`).

    `tend`, now and then, mends what is out of step all the same, and asks again for the peer's word.

    New calls are admitted where the address is at home (rtpengine.conf.j2), or when there is no such place.
    """

    def __init__(self, facts: Facts, number: int) -> None:
        self.name = f"media-{number}"
        self._port = facts.region.ports.cli[number - 1]
        self._own = CallStore(facts, number, facts.node_ip)
        self._peers = CallStore(facts, number, facts.region.peer_alias)
        self._task: asyncio.Task[None] | None = None
        self._doubted: frozenset[str] = frozenset()
        self._came_at = time.time()
        self._met: set[str] = set()
        """Calls that the engine was seen to have since the address came."""
        self._lost_at = time.monotonic()
        self._stale = True
        self._kept_because = ""
        """Why calls are kept that the peer ought to have by now."""
        self._admits: bool | None = None
        self._lock = asyncio.Lock()
        """One piece of work at a time: what an engine is told by one must not be undone in the middle of another."""
        self._at_home = render.at_home(facts, self.name)

    def own(self, wanted: Callable[[], bool]) -> None:
        """The address has come: claim all calls; tried again for as long as `wanted` holds."""
        self._came_at, self._met, self._kept_because = time.time(), set(), ""
        self._start(self._until_done(self._claim, wanted, after=SETTLE))

    def reclaim(self, wanted: Callable[[], bool]) -> None:
        """The own Redis or the peer is back: write what this node owns."""
        self._start(self._until_done(self._write, wanted))

    def disown(self, wanted: Callable[[], bool]) -> None:
        """The address has gone: give all calls to the peer, as soon as it says that it has it; tried again for as long
        as `wanted` holds."""
        self._lost_at, self._stale, self._kept_because = time.monotonic(), True, ""
        self.follow(wanted, after=GIVE_UP)

    def follow(self, wanted: Callable[[], bool], after: float = 0.0) -> None:
        """Hear again what the peer says of all calls: its Redis is back, or the address has gone to it."""
        self._start(self._until_done(self._follow, wanted, after=after))

    @property
    def settled(self) -> bool:
        """No order is under way."""
        return self._task is None or self._task.done()

    async def admit(self, homeless: bool) -> None:
        """Whether new calls may come: here at home, else only while the node holds no address that is at home."""
        if not self._at_home and homeless != self._admits:
            with contextlib.suppress(OSError, TimeoutError):
                await self._command(f"set maxsessions {-1 if homeless else 0}")
                self._admits = homeless

    async def speak(self, held: Callable[[], bool]) -> None:
        """Tell the peer, if it listens, that the address is here and its calls are written."""
        if self.settled and held():
            with contextlib.suppress(*resp.AWAY):
                await self._own.say_owned()

    async def tend(self, held: Callable[[], bool]) -> None:
        """One look at what is out of step. Nothing is done while an order is under way or either Redis is away."""
        self._admits = None  # an engine that started anew has not been told
        with contextlib.suppress(*resp.AWAY):
            async with self._lock:
                if self.settled and self._kept_because and not held():
                    self.follow(lambda: not held())
                elif self.settled:
                    await (self._tend_active(held) if held() else self._tend_standby(held))

    async def hear(self, held: Callable[[], bool]) -> None:
        """The address is here, and was perhaps on the peer too for a moment: take over what was signalled there. Calls
        in the peer's Redis tell of it; that of a standby is empty."""
        with contextlib.suppress(*resp.AWAY):
            async with self._lock:
                if self.settled and held() and await self._peers.any():
                    heard = await self._hear_out(await self._calls(), held)
                    if heard and held():
                        log.info("%s: the peer knew %d calls better", self.name, heard)
                        await self._command("active")

    async def refresh(self, held: Callable[[], bool]) -> None:
        """Let the standby know how often the sequence numbers of encrypted calls have begun anew: SRTP needs it and no
        packet tells it (RFC 3711, 3.3.1). What it knows may be 2^15 packets old."""
        with contextlib.suppress(*resp.AWAY):
            async with self._lock:
                # As in `hear`: a claim counts as signalling, and must not make what was known before a flap look newer.
                if not self.settled or not held() or await self._peers.any():
                    return
                if calls.encrypted(await self._own.calls()) and held():
                    await self._command("active")
                    written = await self._own.calls()
                    for call, document in written.items():
                        if (amended := calls.with_indexes(document)) is not None:
                            await self._own.amend(call, document, amended)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._task is not None:
            self._task.cancel()
        self._doubted = frozenset()
        self._task = asyncio.get_running_loop().create_task(work)

    async def _until_done(
        self, work: Callable[[Callable[[], bool]], Awaitable[str]], wanted: Callable[[], bool], *, after: float = 0.0
    ) -> None:
        await asyncio.sleep(after)
        began = time.monotonic()
        while wanted():
            try:
                async with self._lock:
                    done = await work(wanted)
            except (OSError, TimeoutError):
                await asyncio.sleep(_RETRY)
                continue
            if done:
                log.info("%s: %s, %.0f ms", self.name, done, 1000 * (time.monotonic() - began))
            return

    async def _claim(self, wanted: Callable[[], bool]) -> str:
        heard = 0
        # A peer that is dead has nothing to say.
        with contextlib.suppress(*resp.AWAY):
            heard = await self._hear_out(await self._calls(), wanted)
        return f"{await self._write(wanted)}, {heard} as the peer last knew them"

    async def _write(self, wanted: Callable[[], bool]) -> str:
        if not wanted():
            return "the address has gone again"
        await self._command("active")
        return "calls are owned"

    async def _hear_out(self, known: set[str], wanted: Callable[[], bool]) -> int:
        """Let the engine read from the peer what the peer knows better of its calls, and calls of which no word has
        come: one that began a moment before the address moved would ring for ever, since its answer finds no engine
        that knows it. Returns how many."""
        self._met |= known
        theirs, since = await self._peers.calls(), self._came_at - _CLOCKS
        newer = calls.better_there(known, await self._own.calls(), theirs, since)
        unheard = calls.unheard(self._met, theirs, since)
        if (newer or unheard) and wanted():
            if newer:
                await self._command("standby")
            if unheard:
                log.warning("%s: no word had come of %d calls of the peer", self.name, len(unheard))
            await self._peers.announce("set", [*newer, *unheard])
            await asyncio.sleep(RESTORE)
        return len(newer) + len(unheard)

    async def _released(self, held: Callable[[], bool]) -> tuple[bool, str]:
        """`calls.released`, by what the peer says from now on."""
        says: bool | None = None
        with contextlib.suppress(*resp.AWAY):
            says = await self._peers.owned(HEARKEN)
        return calls.released(held(), says)

    async def _follow(self, wanted: Callable[[], bool]) -> str:
        """Nothing to tell when the calls are kept for the same reason as the last time."""
        released, because = await self._released(lambda: not wanted())
        if not released:
            before, self._kept_because = self._kept_because, because
            return "" if before == because else f"calls are kept: {because}"
        self._kept_because = ""
        await self._command("standby")
        told: set[str] = set()
        with contextlib.suppress(*resp.AWAY):
            told = await self._peers.ids()
            # First what has ended: a call that has its ports now could not be restored beside it.
            await self._peers.announce("del", await self._calls() - told)
            for _ in range(_LISTENS):
                if not wanted() or await self._peers.announce("set", told):
                    break
                await asyncio.sleep(_RETRY)
        return f"calls are the peer's, {len(told)} heard again"

    async def _tend_active(self, held: Callable[[], bool]) -> None:
        written = await self._own.ids()
        known = await self._calls()
        # Written and not known any more: it ended while this Redis was away, or on the peer; nobody else deletes it.
        todo = calls.tidying(written, known, self._doubted)
        self._doubted = todo.doubted
        await self._own.forget(todo.ended)
        if todo.lacking and held():
            log.info("%s: %d calls were not written", self.name, len(todo.lacking))
            await self._command("active")

    async def _tend_standby(self, held: Callable[[], bool]) -> None:
        if self._stale and time.monotonic() - self._lost_at > STALE and (await self._released(held))[0]:
            await self._own.empty()
            self._stale = False
        written = await self._peers.ids()
        todo = calls.tidying(await self._calls(), written, self._doubted)
        self._doubted = todo.doubted | frozenset(todo.ended)
        ended = todo.ended if todo.ended and (await self._released(held))[0] else ()
        if held():
            return
        if todo.lacking or ended:
            log.info("%s: %d calls were not known, %d had ended", self.name, len(todo.lacking), len(ended))
        await self._peers.announce("set", todo.lacking)
        await self._peers.announce("del", ended)

    async def _calls(self) -> set[str]:
        return set(await engine_port.calls(self._port, _CLI_TIMEOUT))

    async def _command(self, order: str) -> bytes:
        async with engine_port.asked(self._port, order, _CLI_TIMEOUT) as reader:
            return await reader.read()
