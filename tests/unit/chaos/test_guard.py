from __future__ import annotations

from typing import Any

import pytest
from unit.chaos.fakes import Platform, world_of

from okitoki_chaos import faults
from okitoki_chaos.guard import Refused, consenting, require


def plan_for(platform: Platform, target: str = "node-of:primary") -> Any:
    return faults.plan(world_of(platform), [{"fault": "node-pause", "target": target}], "acme", "kyiv")


def test_with_consent_and_a_healthy_quorum_nothing_is_refused() -> None:
    platform = Platform()
    require(world_of(platform), plan_for(platform))


def test_without_the_label_a_drill_is_refused() -> None:
    platform = Platform()
    platform.consent = False
    with pytest.raises(Refused, match=r"tenant-acme: neither namespace nor resource carries the label .*chaos=allowed"):
        require(world_of(platform), plan_for(platform))


def test_a_resources_label_speaks_for_its_namespace() -> None:
    labels = {"platform.oki-toki.net/chaos": "allowed"}
    resources = [
        {"kind": "Tenant", "metadata": {"name": "acme", "labels": labels}},
        {"kind": "VoiceRegion", "metadata": {"name": "kyiv", "labels": labels}},
        {"kind": "Tenant", "metadata": {"name": "globex"}},
    ]
    assert consenting([], resources) == {"tenant-acme", "okitoki-region-kyiv"}


def test_one_member_less_and_a_drill_is_refused() -> None:
    platform = Platform()
    plan = plan_for(platform)
    platform.pods[1]["status"]["conditions"][0]["status"] = "False"
    with pytest.raises(Refused, match="2 of 3 database members are ready"):
        require(world_of(platform), plan)


def test_a_standby_outside_the_quorum_and_a_drill_is_refused() -> None:
    platform = Platform()
    plan = plan_for(platform)
    platform.sync = {"leader": "postgres-0", "sync_standby": "postgres-1"}
    with pytest.raises(Refused, match="1 of 2 standbys are in the quorum"):
        require(world_of(platform), plan)


def test_a_node_concerns_every_namespace_that_has_pods_on_it() -> None:
    plan = plan_for(Platform())
    assert plan.namespaces == ("okitoki-region-kyiv", "okitoki-system", "tenant-acme")
