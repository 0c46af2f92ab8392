"""Probes of the experiments."""

from __future__ import annotations

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.session import current


def state(within: float) -> str:
    """`whole` as soon as all is well, or what is not after `within` seconds of patience."""
    return "; ".join(current().whole(float(within))) or "whole"


def bit() -> list[str]:
    """The proofs that the fault took effect. It is an error when there is none: such a drill shows nothing."""
    return current().bit()


def members(tenant: str, within: float) -> list[str]:
    """Whether a tenant's database has all of its members again, while the fault is still there. An error when not."""
    found = current().members(tenant, float(within))
    if found:
        raise ChaosError("; ".join(found))
    return []
