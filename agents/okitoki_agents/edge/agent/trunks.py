"""Do the carriers' trunks answer? The node with the SIP address asks each by OPTIONS (RFC 3261, 11) now and then.

The question goes through this node's Kamailio, so that it leaves from the SIP address and port as a call does: a
carrier knows no other. The other node takes over what the asking one knows, and goes on from there when the address
comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from okitoki_agents.edge import kamailio, store
from okitoki_agents.edge.agent.pair import Pair
from okitoki_agents.edge.agent.server import Sample
from okitoki_agents.edge.facts import Carrier, Facts

log = logging.getLogger(__name__)

State = Literal["unproven", "answers", "silent", "refuses"]
STATES: tuple[State, ...] = ("unproven", "answers", "silent", "refuses")
DEAD = ("silent", "refuses")
MISSES = 2
"""Questions in a row without an answer, or refused, that make a trunk dead."""
ANSWER_SECONDS = 1.8
"""Kamailio itself answers 408 after 2 s; it repeats the question after 0.5 and 1.5 s."""
SERVICE_UNAVAILABLE = 503
OWN_CODES = (408, 477, 478)
"""What this node's Kamailio says when the trunk does not answer or nothing can be sent to it."""
TELL_SECONDS = 10.0
"""How often Kamailio is told of dead trunks; it forgets them after six times as long."""


@dataclass(frozen=True)
class Trunk:
    """A host of a carrier. `since`: epoch seconds; `code`: SIP status of the answer with which the state began."""

    carrier: str
    host: str
    state: State = "unproven"
    since: int = 0
    code: int | None = None
    misses: int = 0

    @property
    def dead(self) -> bool:
        """Whether calls are better sent through another trunk."""
        return self.state in DEAD

    def document(self) -> dict[str, Any]:
        """As the peer, the disk and the operator get it; nothing in it changes while the state is the same."""
        return {"carrier": self.carrier, "state": self.state, "since": self.since, "code": self.code}


def judged(trunk: Trunk, code: int | None, now: float) -> Trunk:
    """The trunk after one question; `code` None: no answer.

    Any answer shows that the trunk is there, but 503, which says that it takes no calls. A trunk that has never
    answered may be one of a carrier that ignores OPTIONS: nothing follows from its silence.
    """
    if code is not None and code != SERVICE_UNAVAILABLE:
        return _become(replace(trunk, misses=0), "answers", code, now)
    missed = replace(trunk, misses=trunk.misses + 1)
    if missed.misses < MISSES:
        return missed
    if code is not None:
        return _become(missed, "refuses", code, now)
    return missed if trunk.state == "unproven" else _become(missed, "silent", None, now)


def _become(trunk: Trunk, state: State, code: int | None, now: float) -> Trunk:
    return trunk if trunk.state == state else replace(trunk, state=state, since=int(now), code=code)


def of_region(carriers: Iterable[Carrier], known: Any) -> dict[str, Trunk]:
    """The region's trunks by host, with what `known` (documents by host, of the disk or the peer) says of them."""
    found = {}
    for carrier in carriers:
        for host in carrier.hosts:
            trunk, said = Trunk(carrier.name, host), known.get(host) if isinstance(known, Mapping) else None
            if isinstance(said, Mapping) and said.get("state") in STATES and isinstance(said.get("since"), int):
                code = said.get("code") if isinstance(said.get("code"), int) else None
                trunk = replace(trunk, state=said["state"], since=said["since"], code=code)
            found[host] = trunk
    return found


class Trunks:
    """`ask(host)`: one question, the SIP status of the answer or None. `trunks`: what is known, by host."""

    def __init__(
        self,
        facts: Facts,
        pair: Pair,
        file: Path,
        on_change: Callable[[], None],
        ask: Callable[[str], Awaitable[int | None]] | None = None,
    ) -> None:
        self._facts, self._pair, self._file, self._on_change = facts, pair, file, on_change
        self._ask = ask or (lambda host: options(facts, host))
        self._every = {host: carrier.probe_seconds for carrier in facts.region.carriers for host in carrier.hosts}
        self._asked: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._told = float("-inf")
        self.trunks = of_region(facts.region.carriers, store.read_json(file))

    async def run(self) -> None:
        """Look once a second until cancelled."""
        while True:
            with contextlib.suppress(OSError):
                await self.look()
            await asyncio.sleep(1.0)

    async def look(self) -> None:
        """Ask the trunks that are due, or hear what the other node knows; tell Kamailio."""
        before = self.documents()
        if "sip" in self._pair.own.holds:
            now = time.monotonic()
            due = [host for host, every in self._every.items() if every and now >= self._asked.get(host, 0.0) + every]
            self._asked |= dict.fromkeys(due, now)
            await asyncio.gather(*map(self._probe, due))
        elif (peer := self._pair.peer) is not None and peer.answers and "sip" in peer.node.holds:
            self.trunks = of_region(self._facts.region.carriers, peer.node.trunks)
        changed = self.documents() != before
        if changed:
            store.write_json(self._file, self.documents())
            self._on_change()
        if changed or time.monotonic() > self._told + TELL_SECONDS:
            await asyncio.to_thread(self._tell)

    async def _probe(self, host: str) -> None:
        began = time.monotonic()
        code = await self._ask(host)
        if code is not None:
            self._took[host] = time.monotonic() - began
        # The address may have gone while the answer was awaited: then the silence is this node's.
        if code is None and "sip" not in self._pair.own.holds:
            return
        before = self.trunks[host]
        after = self.trunks[host] = judged(before, code, time.time())
        if after.state != before.state:
            level = logging.WARNING if after.dead else logging.INFO
            log.log(level, "trunk %s of carrier %s: %s (was %s)", host, after.carrier, after.state, before.state)

    def _tell(self) -> None:
        """Kamailio's table `dead_trunks`; a Kamailio that does not answer is told at the next look."""
        dead = {host: trunk.state for host, trunk in self.trunks.items() if trunk.dead}
        try:
            loaded = kamailio.entries(self._facts.paths, "dead_trunks")
            for host in sorted(set(loaded) - set(dead)):
                kamailio.rpc(self._facts.paths, "htable.delete", "dead_trunks", host)
            for host, state in dead.items():
                kamailio.rpc(self._facts.paths, "htable.sets", "dead_trunks", host, state)
        except (kamailio.KamailioError, OSError) as error:
            log.debug("dead trunks: %s %s", type(error).__name__, error)
            return
        self._told = time.monotonic()

    def samples(self) -> list[Sample]:
        """Metrics; nothing of a trunk that has never answered."""
        samples: list[Sample] = []
        for host, trunk in self.trunks.items():
            labels = {"carrier": trunk.carrier, "host": host}
            if trunk.state != "unproven":
                samples.append(("okitoki_edge_trunk_answers", labels, float(not trunk.dead)))
            if host in self._took:
                samples.append(("okitoki_edge_trunk_answer_seconds", labels, self._took[host]))
        return samples

    def documents(self) -> dict[str, Any]:
        """What is known, by host."""
        return {host: trunk.document() for host, trunk in self.trunks.items()}


class _Answer(asyncio.DatagramProtocol):
    """The first final answer."""

    def __init__(self) -> None:
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _: Any) -> None:
        found = re.match(rb"SIP/2\.0 ([2-6]\d\d) ", data)
        if found and not self.code.done():
            self.code.set_result(int(found[1]))


async def options(facts: Facts, host: str) -> int | None:
    """Ask a trunk through this node's Kamailio; the SIP status of its answer, None without one."""
    try:
        transport, answer = await asyncio.get_running_loop().create_datagram_endpoint(
            _Answer, local_addr=(facts.node_ip, 0), remote_addr=(facts.node_ip, facts.region.ports.dmq)
        )
    except OSError as error:
        log.debug("trunk %s: %s", host, error)
        return None
    try:
        transport.sendto(question(facts, host, transport.get_extra_info("sockname")[1]))
        async with asyncio.timeout(ANSWER_SECONDS):
            code = await answer.code
    except TimeoutError:
        return None
    finally:
        transport.close()
    return None if code in OWN_CODES else code


def question(facts: Facts, host: str, port: int) -> bytes:
    """OPTIONS from `port` of this node, for the trunk."""
    unique, sip = secrets.token_hex(8), facts.region.sip
    lines = [
        f"OPTIONS sip:{host} SIP/2.0",
        f"Via: SIP/2.0/UDP {facts.node_ip}:{port};rport;branch=z9hG4bK{unique}",
        "Max-Forwards: 70",
        f"From: <sip:edge@{sip}>;tag={unique[:8]}",
        f"To: <sip:{host}>",
        f"Call-ID: {unique}@{sip}",
        "CSeq: 1 OPTIONS",
        f"Contact: <sip:edge@{sip}:{facts.region.ports.sip}>",
        "Accept: application/sdp",
        "Content-Length: 0",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
