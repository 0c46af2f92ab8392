"""One attempt to have a primary replaced: consent, cut, compare, hand over. Any doubt ends it with nothing done."""

from __future__ import annotations

import asyncio
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
        self.reason = ""
        """Why the last attempt ended as it did."""

    async def holder(self) -> str | None:
        """Who holds the lock now; None also when that can't be told."""
        try:
            return await self._lock.holder()
        except StoreError:
            return None

    async def attempt(self, store: Store, host: str, *, planned: bool = False, to: str | None = None) -> str | None:
        """Have the primary of `store` replaced; returns who has the lock now, None when it was left where it was.

        `store` is what was watched last: were it old, the comparisons would fail. `host` is the primary's address.
        `planned`: the primary itself hands over, to the member `to` if one is named.
        """
        self._count += 1
        name, primary = f"{self._me}/{self._count}", store.primary
        begun = time.monotonic()
        if primary is None or store.sync_leader != primary or not store.voters:
            self._give_up(name, f"the lock is {store.leader}'s, the voters {store.sync_leader}'s")
            return None
        question = {
            "primary": primary, "host": host, "version": store.leader_version, "attempt": name, "planned": planned,
        }  # fmt: skip
        answers = await self._voters.ask(store.voters, "consent", question, CONSENT_SECONDS)
        if refusals := _refusals(answers):
            self._give_up(name, refusals)
            return None
        choice = await self._cut_and_hand_over(store, question, to)
        if choice.winner is None:
            self._give_up(name, choice.reason)
            return None
        seconds, self.reason = time.monotonic() - begun, choice.reason
        log.warning("%s: the lock goes to %s after %.2f s: %s", name, choice.winner, seconds, choice.reason)
        return choice.winner

    async def _cut(self, store: Store, question: Mapping[str, Any], to: str | None) -> dict[str, Answer]:
        """All at once; but who is named is cut last. It streams on meanwhile, and so gets what the others had."""
        named = store.voters & frozenset(filter(None, (to,)))
        answers: dict[str, Answer] = {}
        for voters in filter(None, (store.voters - named, named)):
            answers |= await self._voters.ask(voters, "cut", question, CUT_SECONDS)
        return answers

    async def _cut_and_hand_over(self, store: Store, question: Mapping[str, Any], to: str | None) -> Choice:
        """While it is not known whether the lock has moved, the cuts stay: its next version will tell the voters.

        The voters are settled while they are cut: it has to be after the lock's version was read and before the lock is
        moved (decision 8), and a slow API server is waited for once less.
        """
        settling = asyncio.create_task(self._lock.settle_voters(store, question["attempt"]))
        try:
            answers = await self._cut(store, question, to)
        except BaseException:
            settling.cancel()
            raise
        confirmed = {
            voter: Confirmation(store.leader_version, answer.position, answer.patroni)
            for voter, answer in answers.items()
            if answer.verdict.yes and answer.position is not None
        }
        asked = store.voters
        try:
            store = await settling
        except StoreError as error:
            choice = Choice(None, str(error))
        else:
            choice = choose(store, question["primary"], question["version"], confirmed, to)
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

    def _give_up(self, name: str, reason: str) -> None:
        self.reason = reason
        log.warning("%s: given up: %s", name, reason)


def _refusals(answers: Mapping[str, Answer]) -> str:
    refused = {name: answer.verdict for name, answer in sorted(answers.items()) if not answer.verdict.yes}
    return "; ".join(f"{name}: {verdict.reason}" for name, verdict in refused.items())
