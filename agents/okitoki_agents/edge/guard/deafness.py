"""A node that can send and hears nobody gives its addresses up. Pure; time is counted in looks of LOOK_SECONDS.

Such a node goes on sending adverts, or begins to when it hears none, and announces addresses that no packet reaches:
the peer believes it (decision 19). Silence proves deafness only where somebody would have answered, so:

    hears --nothing in SILENT looks, the gateway asked in vain, and a peer is there--> deaf
    deaf  --something in each of HEARS looks (with at most GAP silent ones between)--> hears

Looks are counted, not seconds: a guard that got no processor, or was frozen, has heard nothing because it did not look.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

LOOK_SECONDS = 0.15
SILENT = 13
"""Looks in a row (2 s) without a packet; in a good pair adverts come 25 times a second, or a peer that has no address
asks for this node's Redis every second."""
ASK = 4
"""Silent looks after which the gateway is asked, at every further one: the kernel sends two questions in what is left,
a second apart."""
PROVEN = 400
"""Looks (60 s) for which an answer of the gateway shows that it answers at all; see PROVE_EVERY."""
PROVE_EVERY = 100
"""Looks between two questions to the gateway while there is no silence."""
PEER = 70
"""Looks (10 s) for which the peer counts as being there after it answered last; its restart takes less."""
HEARS = 14
"""Looks (2 s) in which something must be heard again before the addresses may come back."""
GAP = 4


@dataclass(frozen=True)
class Heard:
    """One look. `anything`: a packet came in from outside; `gateway`: it answered (ARP); `peer`: its Redis answers."""

    anything: bool
    gateway: bool = False
    peer: bool = False


@dataclass(frozen=True)
class Hearing:
    """`gateway`, `peer`: looks since they answered last, as it was when the silence began; None: never."""

    deaf: bool = False
    silent: int = 0
    hears: int = 0
    gateway: int | None = None
    peer: int | None = None


@dataclass(frozen=True)
class Decision:
    """Whether this node may have addresses, and why."""

    action: Literal["keep", "withdraw"]
    reason: str


def look(before: Hearing, heard: Heard) -> tuple[Hearing, Decision]:
    """The next state and what to do."""
    if not (heard.anything or heard.gateway):
        now = replace(before, silent=before.silent + 1, hears=0 if before.silent >= GAP else before.hears)
    else:
        now = replace(
            before,
            silent=0,
            hears=before.hears + 1,
            gateway=0 if heard.gateway else _older(before.gateway),
            peer=0 if heard.peer else _older(before.peer),
        )
    decision = _decide(now)
    return replace(now, deaf=decision.action == "withdraw"), decision


def must_ask(hearing: Hearing) -> bool:
    """Whether the gateway must be asked for an answer now."""
    proof = hearing.gateway is None or hearing.gateway % PROVE_EVERY == PROVE_EVERY - 1
    return hearing.deaf or hearing.silent >= ASK or proof


def _older(looks: int | None) -> int | None:
    return None if looks is None else looks + 1


def _decide(now: Hearing) -> Decision:
    if now.deaf:
        if now.hears < HEARS:
            return Decision("withdraw", "nobody is heard, or not for long enough yet")
        return Decision("keep", "others are heard again")
    if now.silent < SILENT:
        return Decision("keep", "others are heard")
    silence = f"nothing has come in for {SILENT * LOOK_SECONDS:.0f} s"
    if now.gateway is None or now.gateway > PROVEN:
        return Decision("keep", f"{silence}, but no gateway is known to answer: it may be that nobody speaks")
    if now.peer is None or now.peer > PEER:
        return Decision("keep", f"{silence}, but there is no peer that could have the addresses instead")
    return Decision("withdraw", f"{silence}, not even an answer of the gateway, which answered until then")
