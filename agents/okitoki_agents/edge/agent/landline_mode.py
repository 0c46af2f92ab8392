"""Which tenants' calls go to landlines (layer 1, decision 14), since when and why: the journal of every switch.

Kamailio switches by what it hears on a call and leaves a row for each switch in its table `switches` (the last 16 of
each tenant). The agent of the node with the SIP address reads them, appends them to a journal on disk and keeps the
state. The other node takes that over and gives it to its own Kamailio, so that a tenant's mode outlives the node, and
Kamailio's restart as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from okitoki_agents.edge import kamailio, store
from okitoki_agents.edge.agent.pair import Pair
from okitoki_agents.edge.facts import Facts

log = logging.getLogger(__name__)

Mode = Literal["agents", "landlines"]
MODES: tuple[Mode, ...] = ("agents", "landlines")
UNKNOWN = "unknown"
"""Why, when Kamailio was found in a mode without a row that says so."""
REPORTED = 200
"""Tenants that one report names at most; those in landline mode first, then the latest."""
JOURNAL_BYTES = 1 << 20
"""Size at which the journal becomes `.1` and begins anew: some 8000 switches."""


@dataclass(frozen=True)
class Switch:
    """A row of Kamailio's. `at`: epoch milliseconds of this node's clock; `number` orders rows of one millisecond."""

    tenant: str
    at: int
    number: int
    mode: Mode
    why: str


@dataclass(frozen=True)
class State:
    """A tenant's mode. `since`: epoch seconds; `switches`: to landlines, since the journal began."""

    mode: Mode
    since: int
    why: str
    switches: int

    def document(self) -> dict[str, Any]:
        """As the peer, the disk and the operator get it; nothing in it changes while the mode is the same."""
        return {"mode": self.mode, "since": self.since, "why": self.why, "switches": self.switches}


States = Mapping[str, State]


def rows(entries: Mapping[str, str], after: int) -> list[Switch]:
    """Switches later than `after`, in order, from the table's `TENANT:SLOT -> NUMBER|MODE|EPOCH_MS|WHY`."""
    found = []
    for key, value in entries.items():
        number, mode, at, why = [*value.split("|"), "", "", "", ""][:4]
        if mode in MODES and number.isdigit() and at.isdigit() and int(at) > after:
            found.append(Switch(key.rpartition(":")[0], int(at), int(number), MODES[MODES.index(mode)], why))
    return sorted(found, key=lambda switch: (switch.at, switch.number))


def follow(states: States, switches: Iterable[Switch]) -> tuple[dict[str, State], list[Switch]]:
    """The states after `switches`, and those of them that changed a mode: of two calls at the same moment each may have
    switched."""
    now, changes = dict(states), []
    for switch in switches:
        before = now.get(switch.tenant)
        if (before.mode if before else "agents") == switch.mode:
            continue
        count = (before.switches if before else 0) + (switch.mode == "landlines")
        now[switch.tenant] = State(switch.mode, switch.at // 1000, switch.why, count)
        changes.append(switch)
    return now, changes


def parse(document: Any) -> dict[str, State]:
    """States of the disk or the peer; what is not of their form is passed over."""
    found = {}
    for tenant, said in document.items() if isinstance(document, Mapping) else ():
        with contextlib.suppress(KeyError, TypeError, ValueError):
            if said["mode"] in MODES:
                found[str(tenant)] = State(said["mode"], int(said["since"]), str(said["why"]), int(said["switches"]))
    return found


def reported(states: States) -> dict[str, Any]:
    """What the operator is told."""
    ordered = sorted(states.items(), key=lambda item: (item[1].mode != "landlines", -item[1].since, item[0]))
    return {tenant: state.document() for tenant, state in sorted(ordered[:REPORTED])}


class LandlineMode:
    """`states` by tenant. `run` looks once a second; `serves(tenant)`: whether this edge knows the tenant."""

    def __init__(
        self, facts: Facts, pair: Pair, folder: Path, serves: Callable[[str], bool], on_change: Callable[[], None]
    ) -> None:
        self._facts, self._pair, self._serves, self._on_change = facts, pair, serves, on_change
        self._file, self._journal = folder / "landline-mode.json", folder / "landline-mode.jsonl"
        known = store.read_json(self._file)
        known = known if isinstance(known, Mapping) else {}
        self.states: States = parse(known.get("tenants"))
        until = known.get("readUntil")
        self._read_until = until if isinstance(until, int) else 0
        self._odd: dict[str, Mode] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        problem = ""
        while True:
            before, problem = problem, ""
            try:
                if await asyncio.to_thread(self.look):
                    self._on_change()
            except (kamailio.KamailioError, OSError) as error:
                problem = f"{type(error).__name__} {error}"
            if problem and problem != before:
                log.warning("landline mode: %s", problem)
            await asyncio.sleep(1.0)

    def look(self) -> bool:
        """Read what Kamailio switched, or take over what the other node knows, then let Kamailio have it; whether
        anything is new. Raises KamailioError, OSError."""
        peer, changes = self._pair.peer, list[Switch]()
        before, until = self.states, self._read_until
        table = kamailio.entries(self._facts.paths, "layer1")
        if "sip" in self._pair.own.holds:
            found = rows(kamailio.entries(self._facts.paths, "switches"), self._read_until)
            until = found[-1].at if found else until
            self.states, changes = follow(self.states, found)
        elif peer is not None and peer.answers and "sip" in peer.node.holds:
            self.states = parse(peer.node.landlines)
            changes = [
                Switch(tenant, state.since * 1000, 0, state.mode, state.why)
                for tenant, state in self.states.items()
                if before.get(tenant) != state
            ]
        self.states = {tenant: state for tenant, state in self.states.items() if self._serves(tenant)}
        changes += self._settle(table)
        return self._keep(before, until, changes)

    def _settle(self, table: Mapping[str, str]) -> list[Switch]:
        """Where Kamailio's table says something else in two looks: a Kamailio that was started anew, or the other
        node's, is told the mode; one that has switched without leaving a row is believed."""
        here: dict[str, Mode] = dict.fromkeys(table, "landlines")
        wanted = {tenant: state.mode for tenant, state in self.states.items()}
        odd = {
            tenant: here.get(tenant, "agents")
            for tenant in {*here, *wanted}
            if here.get(tenant, "agents") != wanted.get(tenant, "agents")
        }
        believed = []
        for tenant, mode in odd.items():
            if self._odd.get(tenant) != mode:
                continue
            if mode == "agents":
                kamailio.rpc(self._facts.paths, "htable.seti", "layer1", tenant, str(self.states[tenant].since))
            elif "sip" in self._pair.own.holds and self._serves(tenant):
                believed.append(Switch(tenant, int(time.time() * 1000), 0, mode, UNKNOWN))
            else:
                kamailio.rpc(self._facts.paths, "htable.delete", "layer1", tenant)
        self._odd = odd
        self.states, changes = follow(self.states, believed)
        return changes

    def _keep(self, before: States, until: int, changes: list[Switch]) -> bool:
        """The journal first: a switch may be there twice after a crash, and is never missing."""
        for switch in changes:
            log.warning("tenant %s: calls go to %s since now (%s)", switch.tenant, switch.mode, switch.why)
        if changes:
            self._append(changes)
        if self.states == before and until == self._read_until:
            return False
        store.write_json(self._file, {"tenants": self.documents(), "readUntil": until})
        self._read_until = until
        return True

    def _append(self, changes: Iterable[Switch]) -> None:
        self._journal.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._journal.exists() and self._journal.stat().st_size > JOURNAL_BYTES:
            os.replace(self._journal, self._journal.with_suffix(".jsonl.1"))
        with self._journal.open("a") as file:
            for switch in changes:
                at = datetime.fromtimestamp(switch.at / 1000, UTC).isoformat(timespec="milliseconds")
                line = {"at": at, "tenant": switch.tenant, "mode": switch.mode, "why": switch.why}
                file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def documents(self) -> dict[str, Any]:
        """What the peer is told: all of it."""
        return {tenant: state.document() for tenant, state in self.states.items()}
