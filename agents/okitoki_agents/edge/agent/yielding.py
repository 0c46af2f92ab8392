"""When both nodes hold an address and go on doing so, the one that is not its home leaves it to the other.

VRRP settles that within an advert, unless the nodes do not hear each other's adverts while they see each other
otherwise: then nothing else does. Pure; times in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

LOOKS = 3
"""Looks in a row, a second apart, that must show an address on both nodes: a flap is shorter."""
AGAIN_AFTER = 30.0
"""Seconds after which the node lets the address come again, to see whether adverts arrive now; each time it does not
help this doubles, up to `AGAIN_AT_MOST`."""
AGAIN_AT_MOST = 480.0


@dataclass
class _Address:
    both_looks: int = 0
    left_at: float | None = None
    again_after: float = AGAIN_AFTER
    back_at: float = 0.0


class Yielding:
    """`at_home(name)`: whether this node is the home of an address."""

    def __init__(self, names: Collection[str], at_home: Callable[[str], bool]) -> None:
        self._addresses = {name: _Address() for name in names if not at_home(name)}

    def look(self, own: Collection[str], peer: Collection[str] | None, now: float) -> frozenset[str]:
        """What this node must leave to the peer. `own`, `peer`: what either holds, `peer` None while it is silent."""
        return frozenset(
            name
            for name, address in self._addresses.items()
            if _leave(address, name in own, peer is not None and name in peer, now)
        )


def _leave(address: _Address, here: bool, there: bool, now: float) -> bool:
    if address.left_at is not None:
        if there and now - address.left_at < address.again_after:
            return True
        # The peer has it no more, or it is time to see whether adverts arrive.
        address.again_after = min(2 * address.again_after, AGAIN_AT_MOST) if there else AGAIN_AFTER
        address.left_at, address.both_looks, address.back_at = None, 0, now
        return False
    address.both_looks = address.both_looks + 1 if here and there else 0
    if address.both_looks >= LOOKS:
        address.left_at = now
        return True
    if not address.both_looks and now - address.back_at > AGAIN_AFTER:
        address.again_after = AGAIN_AFTER
    return False
