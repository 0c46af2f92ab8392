"""The carrier's forwarding (layer 2) and the landline phones behind it."""

from __future__ import annotations

from typing import Any

import pytest
from unit.phones.test_calls import NUMBER, world

from okitoki_phones.carrier import Plan, forward_reason
from okitoki_phones.config import CarrierConfig, ConfigError
from okitoki_phones.judge import COMPLETED, FAILED
from okitoki_phones.records import LegRecord

LANDLINE = "+380447654321"
FORWARDING: dict[str, Any] = {"landlines": (LANDLINE,), "landline_ring_seconds": (0.02, 0.05), "forward_to": LANDLINE}


@pytest.mark.parametrize(
    ("code", "reached", "reason"),
    [
        (486, True, "busy"),
        (600, True, "busy"),
        (480, True, "no answer"),
        (408, True, "no answer"),
        (487, True, "no answer"),
        (503, True, "unreachable"),
        (408, False, "unreachable"),
        (404, True, None),
        (403, True, None),
    ],
)
def test_what_a_carrier_forwards(code: int, reached: bool, reason: str | None) -> None:
    assert forward_reason(LegRecord("carrier", "c", "+380", NUMBER, code=code), reached) == reason


async def test_a_silent_platform_is_unreachable_and_the_landline_talks() -> None:
    async with world(unreachable_seconds=0.2, **FORWARDING) as there:
        there.server.close()
        await there.carrier.call(Plan("short", NUMBER, "acme", 0.4))
        verdict = (await there.verdicts())[-1]
        assert verdict.outcome == COMPLETED
        record = next(r for r in there.records if r["role"] == "carrier")
        assert record["forwarded"] == f"{LANDLINE} unreachable"


async def test_without_forwarding_the_call_is_lost() -> None:
    async with world(unreachable_seconds=0.2) as there:
        there.server.close()
        await there.carrier.call(Plan("short", NUMBER, "acme", 0.4))
        assert (await there.verdicts())[-1].outcome == FAILED


async def test_the_platforms_addresses_are_tried_in_order() -> None:
    async with world(unreachable_seconds=0.2, **FORWARDING) as there:
        config = there.carrier.config
        # The first one says nothing; the second one is the platform.
        object.__setattr__(config, "more_servers", (config.server,))
        object.__setattr__(config, "server", ("127.0.0.1", 9))
        await there.carrier.call(Plan("short", NUMBER, "acme", 0.4))
        assert (await there.verdicts())[-1].outcome == COMPLETED
        assert all(r.get("forwarded") is None for r in there.records)


def test_a_call_is_forwarded_to_a_landline_that_exists() -> None:
    values = {
        "address": {"host": "198.18.0.6"},
        "server": {"host": "198.18.0.9"},
        "long": [{"number": "+380", "tenant": "acme", "count": 2}],
        "moreServers": [{"host": "198.18.0.10"}],
        "landlines": [LANDLINE],
        "forwardTo": LANDLINE,
    }
    config = CarrierConfig.read(values)
    assert (config.forward_to, config.more_servers) == (LANDLINE, (("198.18.0.10", 5060),))
    with pytest.raises(ConfigError, match=r"forwardTo.*add it there"):
        CarrierConfig.read({**values, "landlines": []})
