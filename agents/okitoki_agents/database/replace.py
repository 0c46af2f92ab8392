"""One attempt to have a dead primary replaced: consent, cut, compare, release. Any doubt ends it with nothing done."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from okitoki_agents.database.decisions import Store, Verdict, may_release
from okitoki_agents.database.peers import CONSENT_SECONDS, CUT_SECONDS, WITHDRAW_SECONDS
from okitoki_agents.database.store import Conflict, StoreError

TOUCH_AGAIN_SECONDS = 60.0
"""A touch of the lock starts Patroni's TTL anew, so it must not be repeated before the TTL could have run out."""

log = logging.getLogger(__name__)


class Lock(Protocol):
    """Patroni's store (`PatroniStore`)."""

    async def read(self) -> tuple[Store, Mapping[str, str]]: ...

    async def touch(self, store: Store, attempt: str) -> Store: ...

    async def settle_voters(self, store: Store, attempt: str) -> Store: ...

    async def release(self, store: Store, annotations: Mapping[str, str]) -> None: ...

    async def forget_member(self, name: str) -> None: ...


class Voters(Protocol):
    """The agents of the voters, this one among them (`Peers`)."""

    async def ask(
        self, members: frozenset[str], what: str, body: Mapping[str, Any], limit: float
    ) -> dict[str, Verdict]: ...


class Replacement:
    """Attempts of one agent."""

    def __init__(self, me: str, lock: Lock, voters: Voters) -> None:
        self._me, self._lock, self._voters = me, lock, voters
        self._count = 0
        self._touched = -TOUCH_AGAIN_SECONDS

    async def holder(self) -> str | None:
        """Who holds the lock now; None also when that can't be told."""
        try:
            return (await self._lock.read())[0].leader
        except StoreError:
            return None

    async def attempt(self, primary: str, host: str) -> bool:
        """Returns whether the lock was removed."""
        self._count += 1
        name = f"{self._me}/{self._count}"
        begun = time.monotonic()
        try:
            store, annotations = await self._lock.read()
            if store.leader != primary or store.sync_leader != primary or not store.voters:
                return _given_up(name, f"the lock is {store.leader}'s, the voters {store.sync_leader}'s")
            question = {"primary": primary, "host": host, "version": store.leader_version, "attempt": name}
            answers = await self._voters.ask(store.voters, "consent", question, CONSENT_SECONDS)
            if refusal := _refusal(answers):
                return _given_up(name, refusal)
            store = await self._wake_race(store, name)
            question["version"] = store.leader_version
        except StoreError as error:
            return _given_up(name, str(error))
        reason = await self._cut_and_release(store, annotations, question)
        if reason is not None:
            return _given_up(name, reason)
        log.warning("%s: %s has lost its lock %.2f s after the attempt began", name, primary, time.monotonic() - begun)
        return True

    async def _cut_and_release(
        self, store: Store, annotations: Mapping[str, str], question: Mapping[str, Any]
    ) -> str | None:
        """Why it did not work, or None. While it is not known whether the lock is removed, the cuts stay: the lock's
        next version will tell the voters."""
        asked = store.voters
        answers = await self._voters.ask(asked, "cut", question, CUT_SECONDS)
        confirmed = {voter: store.leader_version for voter, answer in answers.items() if answer.yes}
        try:
            store = await self._lock.settle_voters(store, question["attempt"])
        except StoreError as error:
            verdict = Verdict(False, str(error))
        else:
            verdict = may_release(store, question["primary"], question["version"], confirmed)
        if verdict.yes:
            try:
                await self._lock.release(store, annotations)
                return None
            except Conflict as error:
                verdict = Verdict(False, str(error))
            except StoreError as error:
                return str(error)
        await self._voters.ask(asked, "withdraw", question, WITHDRAW_SECONDS)
        return f"{verdict.reason}; {_refusal(answers)}"

    async def _wake_race(self, store: Store, name: str) -> Store:
        """Have the dead member forgotten and the voters' Patroni look once more while the lock is there: in the race
        it asks everyone whom it knew last, and a frozen server would cost it its time-out of 2 s."""
        await self._lock.forget_member(store.leader or "")
        if time.monotonic() - self._touched < TOUCH_AGAIN_SECONDS:
            return store
        self._touched = time.monotonic()
        touched = await self._lock.touch(store, name)
        return replace(store, leader=touched.leader, leader_version=touched.leader_version)


def _refusal(answers: Mapping[str, Verdict]) -> str:
    return "; ".join(f"{name}: {answer.reason}" for name, answer in sorted(answers.items()) if not answer.yes)


def _given_up(name: str, reason: str) -> bool:
    log.warning("%s: given up: %s", name, reason)
    return False
