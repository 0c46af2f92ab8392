"""One attempt to have a primary replaced: consent, cut, compare, hand over. Any doubt ends it with nothing done."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Protocol

from okitoki_agents.database.decisions import Choice, Confirmation, Store, choose
from okitoki_agents.database.peers import CONSENT_SECONDS, CUT_SECONDS, WITHDRAW_SECONDS, Answer
from okitoki_agents.database.store import Conflict, StoreError

log = logging.getLogger(__name__)


class Lock(Protocol):
    """Patroni's store (`PatroniStore`)."""

    async def holder(self) -> str | None: ...

    async def settle_voters(self, store: Store, attempt: str) -> Store: ...

    async def hand_over(self, store: Store, winner: str) -> None: ...


class Voters(Protocol):
    """The agents of the voters, this one among them (`Peers`)."""

    async def ask(
        self, members: frozenset[str], what: str, body: Mapping[str, Any], limit: float
    ) -> dict[str, Answer]: ...


class Replacement:
    """Attempts of one agent."""

    def __init__(self, me: str, lock: Lock, voters: Voters) -> None:
        self._me, self._lock, self._voters = me, lock, voters
        self._count = 0

    async def holder(self) -> str | None:
        """Who holds the lock now; None also when that can't be told."""
        try:
            return await self._lock.holder()
        except StoreError:
            return None

    async def attempt(self, store: Store, host: str, *, planned: bool = False) -> bool:
        """Have the primary of `store` replaced; returns whether another member has the lock now.

        `store` is what was watched last: were it old, the comparisons would fail. `host` is the primary's address.
        `planned`: the primary itself hands over.
        """
        self._count += 1
        name, primary = f"{self._me}/{self._count}", store.primary
        begun = time.monotonic()
        if primary is None or store.sync_leader != primary or not store.voters:
            return _given_up(name, f"the lock is {store.leader}'s, the voters {store.sync_leader}'s")
        question = {
            "primary": primary, "host": host, "version": store.leader_version, "attempt": name, "planned": planned,
        }  # fmt: skip
        answers = await self._voters.ask(store.voters, "consent", question, CONSENT_SECONDS)
        if refusals := _refusals(answers):
            return _given_up(name, refusals)
        choice = await self._cut_and_hand_over(store, question)
        if choice.winner is None:
            return _given_up(name, choice.reason)
        seconds = time.monotonic() - begun
        log.warning("%s: the lock goes to %s after %.2f s: %s", name, choice.winner, seconds, choice.reason)
        return True

    async def _cut_and_hand_over(self, store: Store, question: Mapping[str, Any]) -> Choice:
        """While it is not known whether the lock has moved, the cuts stay: its next version will tell the voters."""
        answers = await self._voters.ask(store.voters, "cut", question, CUT_SECONDS)
        confirmed = {
            voter: Confirmation(store.leader_version, answer.position, answer.patroni)
            for voter, answer in answers.items()
            if answer.verdict.yes and answer.position is not None
        }
        asked = store.voters
        try:
            store = await self._lock.settle_voters(store, question["attempt"])
        except StoreError as error:
            choice = Choice(None, str(error))
        else:
            choice = choose(store, question["primary"], question["version"], confirmed)
        if choice.winner is not None:
            try:
                await self._lock.hand_over(store, choice.winner)
                return choice
            except Conflict as error:
                choice = Choice(None, str(error))
            except StoreError as error:
                return Choice(None, str(error))
        await self._voters.ask(asked, "withdraw", question, WITHDRAW_SECONDS)
        return Choice(None, "; ".join(filter(None, (choice.reason, _refusals(answers)))))


def _refusals(answers: Mapping[str, Answer]) -> str:
    refused = {name: answer.verdict for name, answer in sorted(answers.items()) if not answer.verdict.yes}
    return "; ".join(f"{name}: {verdict.reason}" for name, verdict in refused.items())


def _given_up(name: str, reason: str) -> bool:
    log.warning("%s: given up: %s", name, reason)
    return False
