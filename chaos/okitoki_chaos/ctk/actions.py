"""Actions of the experiments."""

from __future__ import annotations

import time
from typing import Any

from okitoki_chaos import together
from okitoki_chaos.session import current


def wait(seconds: float) -> float:
    """Wait for a moment that the plan's seed chose, so that faults fall at random against leases and heartbeats."""
    time.sleep(float(seconds))
    return float(seconds)


def inject(faults: list[dict[str, Any]], tenant: str, region: str, hold: float = 0) -> str:
    """Do one fault, or several at once: [{fault, target, parameters?}]. Refuses without consent or a healthy quorum."""
    return current().inject(faults, tenant, region, float(hold))


def hold(seconds: float) -> float:
    """Leave the fault as it is for some seconds; nothing when it did not come to be."""
    if current().outcome.bit_at is None:
        return 0.0
    time.sleep(float(seconds))
    return float(seconds)


def heal() -> list[str]:
    """Undo everything that is open and prove it. Done in the method, and again as the rollback, whatever happened."""
    return current().heal()


def bring_together(tenant: str, limit: float = 120) -> str:
    """Have the tenant's primary on the node of the operator that leads: one loss then takes both."""
    return together.bring(current(), tenant, float(limit))
