"""The agent: follows Patroni's store, watches the lock's holder, and has it replaced when it is dead."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from okitoki_agents.database import store as patroni
from okitoki_agents.database.decisions import (
    CONSENT,
    NEVER_ASKED,
    Asked,
    Health,
    Plan,
    Step,
    Store,
    Verdict,
    consent,
    judge,
    plan,
    stale,
)
from okitoki_agents.database.fencing import Fencing
from okitoki_agents.database.local import CutError
from okitoki_agents.database.peers import Answer, refusal
from okitoki_agents.database.probe import HolderProbe, StallClock
from okitoki_agents.database.replace import Replacement
from okitoki_agents.kube import Object

TICK_SECONDS = 0.1
FENCED_TICK_SECONDS = 0.05
STALE_LOOK_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.4
"""Between two attempts; doubled each time, for the same holder of the lock."""
LAST_PAUSE_SECONDS = 5.0
POD_GONE_SECONDS = 10.0
"""How long a deleted pod is reason enough; then a new one may long be primary under the same name."""
CHECKPOINT_SECONDS = 15.0
DEMOTION_SECONDS = 5.0
RENEWAL_SECONDS = 4.0
"""Patroni renews its lock every `loop_wait` (3 s)."""
HAND_OVERS = 2
"""Attempts; the second one when the lock was renewed during the first all the same."""

log = logging.getLogger(__name__)


class Server(Protocol):
    """What the agent itself needs of the local server."""

    async def in_recovery(self) -> bool | None: ...

    async def is_primary(self) -> bool: ...

    async def patroni_answers(self) -> bool: ...

    async def checkpoint(self, seconds: float) -> None: ...

    def kill_patroni(self) -> None: ...


class DatabaseAgent:
    """One agent. `on_maps` and `on_pods` are called by the reflectors, `consent`, `cut`, `withdraw` by its peers, and
    `handover` by the pod's own preStop hooks."""

    def __init__(
        self, me: str, replication_password: str, server: Server, fencing: Fencing, replacement: Replacement
    ) -> None:
        self._me, self._password = me, replication_password
        self._server, self._fencing, self._replacement = server, fencing, replacement
        self._stalls = StallClock()
        self._addresses: dict[str, str] = {}
        self._pods: dict[str, str] = {}
        """Member -> uid of its pod."""
        self._pod_gone: float | None = None
        """When the primary's pod was deleted."""
        self._renewed = ""
        self._probe: HolderProbe | None = None
        self._probing: asyncio.Task[None] | None = None
        self._held_since: float | None = None
        self._plan = Plan(Step.NOTHING, "")
        self._attempt: asyncio.Task[None] | None = None
        self._asked = NEVER_ASKED
        self._pause = FIRST_PAUSE_SECONDS
        self._handing_over = asyncio.Lock()
        self.store = Store(None, 0, None, frozenset(), 0, paused=False)

    # What the API server tells

    def on_pods(self, pods: Mapping[str, Object]) -> None:
        """Addresses of the members. That of a member whose pod is gone is kept: its server may still run."""
        uids = {name: str(pod["metadata"]["uid"]) for name, pod in pods.items()}
        primary = self.store.primary
        if primary in self._pods and uids.get(primary) != self._pods[primary]:
            self._pod_gone = time.monotonic()
        self._pods = uids
        for name, pod in pods.items():
            if address := (pod.get("status") or {}).get("podIP"):
                self._addresses[name] = address

    def on_maps(self, maps: Mapping[str, Object]) -> None:
        """Patroni's ConfigMaps."""
        before, self.store = self.store, patroni.parse(maps)
        if self.store.leader != before.leader:
            self._held_since = time.monotonic()
            self._pause = FIRST_PAUSE_SECONDS
            # A free lock is still its last holder's affair.
            if self.store.primary != before.primary:
                self._pod_gone = None
                self._asked = NEVER_ASKED
                self._follow(self.store.primary)
        renewed = patroni.renew_time(maps)
        if renewed != self._renewed:
            self._renewed = renewed
            if self._probe is not None:
                self._probe.renewed = time.monotonic()

    def address(self, member: str) -> str | None:
        """A member's last known address."""
        return self._addresses.get(member)

    @property
    def fenced(self) -> bool:
        """Whether this server's stream is cut."""
        return self._fencing.fence is not None

    def _follow(self, holder: str | None) -> None:
        if self._probing is not None:
            self._probing.cancel()
        self._probe = self._probing = None
        if holder is not None and holder != self._me:
            self._probe = HolderProbe(self._password, self._stalls, lambda: self.address(holder))
            self._probing = asyncio.create_task(self._probe.run())

    # The loop

    async def run(self) -> None:
        """Until cancelled."""
        tasks = [asyncio.create_task(work) for work in (self._stalls.run(), self._watch_stale(), self._tend())]
        try:
            while True:
                self._look()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            for task in tasks:
                task.cancel()

    def health(self, patience: float = 1.0) -> Health:
        """What this agent thinks of the primary."""
        now = time.monotonic()
        if self.store.leader is None and self.store.primary is not None:
            return Health(True, self._held_since or now, "it has given its lock away")
        # Whoever deletes it by force is not waiting for the server's own end, and its Service has gone with it.
        if self._pod_gone is not None and now - self._pod_gone < POD_GONE_SECONDS:
            return Health(True, self._pod_gone, "its pod has been deleted")
        if self._probe is None:
            return Health(False, now, "it is not watched from here")
        return judge(self._probe.sight(), now, patience)

    def _look(self) -> None:
        found = plan(self._me, self.store, self.health(), time.monotonic(), self._asked)
        if found.step is not self._plan.step:
            log.log(logging.INFO if found.step is Step.NOTHING else logging.WARNING, "%s", found.reason)
        self._plan = found
        if found.step is Step.REPLACE and (self._attempt is None or self._attempt.done()):
            self._attempt = asyncio.create_task(self._replace(self.store))

    async def _replace(self, store: Store) -> None:
        """One attempt; never raises, or the next one would not be made."""
        try:
            await self._replacement.attempt(store, self.address(store.primary or "") or "")
        except Exception:
            log.exception("replacing %s", store.primary)
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, LAST_PAUSE_SECONDS)

    async def _tend(self) -> None:
        while True:
            try:
                await self._fencing.tend(self.store)
            except Exception:
                log.exception("tending the fence")
            if self._fencing.fence is None:
                await self._fencing.up.wait()
            await asyncio.sleep(FENCED_TICK_SECONDS)

    async def _watch_stale(self) -> None:
        while True:
            await asyncio.sleep(STALE_LOOK_SECONDS)
            if self.store.leader in (None, self._me):
                continue
            found = stale(self._me, self.store, await self._server.is_primary(), self._held_since, time.monotonic())
            # What was watched may be old: a legitimate primary must not be killed for it.
            if found.yes and await self._replacement.holder() not in (None, self._me):
                log.error("killing Patroni here, and the server with it: %s", found.reason)
                self._server.kill_patroni()

    # What peers ask

    async def consent(self, question: Mapping[str, Any]) -> Answer:
        """Whether this agent would cut."""
        return Answer(self._consent(question))

    def _consent(self, question: Mapping[str, Any]) -> Verdict:
        return consent(
            self._me,
            question["primary"],
            int(question["version"]),
            self._seen(question),
            self.health(CONSENT),
            planned=question["planned"] is True,
        )

    async def cut(self, question: Mapping[str, Any]) -> Answer:
        """Cut this server's stream from the primary, if its death is seen from here too."""
        found = self._consent(question)
        if not found.yes:
            return Answer(found)
        if not question["attempt"].startswith(f"{self._me}/"):
            self._asked = Asked(question["attempt"], time.monotonic())
        patroni_answers = asyncio.create_task(self._server.patroni_answers())
        try:
            position = await self._fencing.cut(
                question["primary"], question["host"], int(question["version"]), question["attempt"]
            )
            return Answer(Verdict(True, "cut"), position, await patroni_answers)
        except CutError as error:
            return refusal(f"{self._me}: {error}")
        finally:
            patroni_answers.cancel()

    async def withdraw(self, question: Mapping[str, Any]) -> Answer:
        """An attempt has been given up."""
        if question["attempt"] == self._asked.attempt:
            self._asked = NEVER_ASKED
        await self._fencing.withdraw(question["attempt"])
        return Answer(Verdict(True, "withdrawn"))

    async def handover(self, question: Mapping[str, Any]) -> Answer:
        """Give the lock away while writes still flow, if this server has it: the pod is about to be stopped, or the
        operator asks, who may name in `to` who is to have it."""
        to = None if question.get("to") is None else str(question["to"])
        async with self._handing_over:
            if self.store.leader != self._me:
                return Answer(Verdict(to is None, "this server does not hold the lock"))
            if to is not None and to not in self.store.voters:
                return refusal(f"{to} is no synchronous standby; these are: {', '.join(sorted(self.store.voters))}")
            if self.store.stopping:
                # Whoever took over would stop too, in the middle of it. As it is all end with what this one has.
                return Answer(Verdict(True, "all members stop: nobody is to take over"))
            await self._server.checkpoint(CHECKPOINT_SECONDS)
            for _ in range(HAND_OVERS):
                await self._renewal()
                if winner := await self._replacement.attempt(
                    self.store, self.address(self._me) or "", planned=True, to=to
                ):
                    break
            else:
                return refusal(
                    f"{to or 'another member'} could not take over now, {self._me} goes on: {self._replacement.reason}"
                )
            for _ in range(round(DEMOTION_SECONDS / TICK_SECONDS)):
                if await self._server.in_recovery() is not False:
                    break
                await asyncio.sleep(TICK_SECONDS)
            return Answer(Verdict(True, f"{winner} has taken over"))

    async def _renewal(self) -> None:
        """Until the lock has just been renewed. A renewal makes an attempt void, with writes held up for nothing, and
        right after one there is the most time before the next. Waiting costs nobody anything: writes flow."""
        before = self._renewed
        for _ in range(round(RENEWAL_SECONDS / TICK_SECONDS)):
            if self._renewed != before:
                return
            await asyncio.sleep(TICK_SECONDS)

    def _seen(self, question: Mapping[str, Any]) -> Store:
        """The store as seen here, or newer: what the asking agent has seen may not have come here yet."""
        version = int(question["version"])
        if self.store.primary == question["primary"] and self.store.leader_version < version:
            return replace(self.store, leader_version=version)
        return self.store

    def status(self) -> dict[str, Any]:
        """For a person: `GET /status`."""
        fence = self._fencing.fence
        return {
            "member": self._me,
            "leader": self.store.leader,
            "voters": sorted(self.store.voters),
            "holder": self.health().reason,
            "plan": self._plan.reason,
            "fencedFrom": fence.primary if fence else None,
        }
