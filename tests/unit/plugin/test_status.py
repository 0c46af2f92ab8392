"""`status`: what is shown of the platform."""

from __future__ import annotations

import json

import pytest
from unit.plugin.support import Fake

from okitoki_kubectl.commands.status import status
from okitoki_kubectl.waiting import Failed


def test_the_platform_at_a_glance() -> None:
    assert status(Fake(), None, "table").splitlines() == [
        "Tenants",
        "NAME   READY   PRIMARY   MEMBERS   APP   NUMBERS   WHY",
        "acme   False   -         2/3       2/2   0         DatabaseReady: no member takes writes now",
        "",
        "VoiceRegions",
        "NAME   READY   PODS   PROTECTED   SIP      HTTPS    MEDIA-1   MEDIA-2   TENANTS   WHY",
        "kyiv   True    2/2    True        edge-0   edge-1   -         -         1         -",
    ]


def test_one_of_them_with_its_conditions_for_people_and_programs() -> None:
    shown = status(Fake(), "kyiv", "table")
    assert "EdgeRedundant" in shown
    assert "acme" not in shown
    found = json.loads(status(Fake(), "acme", "json"))
    assert found["regions"] == []
    assert [item["condition"] for item in found["tenants"][0]["conditions"]] == ["Ready"]


def test_a_resource_that_the_operator_has_not_seen_yet_is_shown() -> None:
    fake = Fake()
    fake.tenant = {"kind": "Tenant", "metadata": {"name": "new"}}
    assert "new    Unknown" in status(fake, None, "table")


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(Failed, match="neither a Tenant nor a VoiceRegion nobody"):
        status(Fake(), "nobody", "table")
