"""The peer is given the operator's own objects."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime

from bench.objects import PLACEHOLDER_NAME, PLACEHOLDER_UID, objects_of_a_tenant, tenant_spec
from bench.subject import ROOT

from okitoki.api.tenant import TenantSpec
from okitoki.kube import labels
from okitoki.kube.pki import Authority, new_authority

NOW = datetime(2026, 11, 24, tzinfo=UTC)
FOUND = objects_of_a_tenant(Authority(new_authority(NOW)), NOW)


def test_they_are_everything_that_a_tenant_owns() -> None:
    counted = Counter(item["kind"] for item in FOUND)
    assert counted["Namespace"] == counted["StatefulSet"] == counted["Deployment"] == 1
    assert counted["Secret"] == 5
    assert len(FOUND) == sum(counted.values()) > 20
    assert FOUND[0]["metadata"]["labels"][labels.OWNER_UID] == PLACEHOLDER_UID


def test_the_peer_replaces_the_words_that_stand_for_the_tenant() -> None:
    source = (ROOT / "tests/bench/peer/reconcile.go").read_text()
    assert f'"{PLACEHOLDER_NAME}"' in source
    assert f'"{PLACEHOLDER_UID}"' in source
    mine = json.dumps(FOUND).replace(PLACEHOLDER_NAME, "bench-00001")
    assert PLACEHOLDER_NAME not in mine
    assert all("bench-00001" in json.dumps(item["metadata"]) for item in json.loads(mine))


def test_tenants_are_valid_and_share_no_number() -> None:
    specs = [TenantSpec.model_validate(tenant_spec(number)) for number in (0, 1, 4999)]
    assert len({spec.numbers[0].number for spec in specs}) == 3
