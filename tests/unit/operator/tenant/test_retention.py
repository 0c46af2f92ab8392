"""Who may take over retained data, and what is said to who may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from unit.operator.factory import a_tenant, what_is_observed

from okitoki.kube import labels
from okitoki.tenant.build import build
from okitoki.tenant.facts import Retained
from okitoki.tenant.retention import adoption, retention

OLD = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
GIBIBYTE = 2**30
KEPT = Retained(OLD, "2026-11-24T12:00:00Z", "namespace-uid", {f"data-postgres-{i}": GIBIBYTE for i in range(3)})


def test_the_uid_of_the_deleted_tenant_opens_its_data_in_one_conditional_write() -> None:
    tenant = a_tenant(database={"adopt": OLD})
    made = build(tenant, what_is_observed(tenant, namespace="foreign", retained=KEPT))
    assert [item["kind"] for item in made] == ["Namespace"]
    metadata = made[0]["metadata"]
    assert metadata["uid"] == "namespace-uid"
    assert metadata["labels"][labels.OWNER_UID] == "uid-1"
    assert labels.RETAINED not in metadata["labels"]


@pytest.mark.parametrize(
    ("database", "kept", "reason", "mend"),
    [
        ({}, KEPT, "DataRetained", f"set spec.database.adopt to {OLD}"),
        ({"adopt": OTHER}, KEPT, "AdoptionRefused", f"spec.database.adopt names {OTHER}: set it to the former"),
        (
            {"adopt": OLD},
            replace(KEPT, volumes={f"data-postgres-{i}": GIBIBYTE for i in range(5)}),
            "AdoptionRefused",
            "on 5 volumes: set spec.database.instances to that",
        ),
        (
            {"adopt": OLD, "storage": {"size": "1Gi"}},
            replace(KEPT, volumes={**KEPT.volumes, "data-postgres-2": 2 * GIBIBYTE}),
            "AdoptionRefused",
            "volumes of 2Gi: set spec.database.storage.size to that or more",
        ),
    ],
)
def test_what_does_not_fit_makes_nothing_and_says_the_mend(
    database: dict[str, Any], kept: Retained, reason: str, mend: str
) -> None:
    tenant = a_tenant(database=database)
    observed = what_is_observed(tenant, namespace="foreign", retained=kept)
    assert build(tenant, observed) == []
    condition = retention(tenant, observed)
    assert condition is not None
    assert (condition.type, condition.reason, condition.warning) == ("NamespaceOwned", reason, True)
    assert mend in condition.message
    assert OLD in condition.message


def test_once_adopted_the_field_says_nothing_any_more() -> None:
    tenant = a_tenant(database={"adopt": OLD})
    observed = what_is_observed(tenant)
    assert retention(tenant, observed) is None
    assert build(tenant, observed) == build(a_tenant(), what_is_observed(secrets=observed.secrets))


def test_data_that_nobody_dated_are_told_too() -> None:
    assert f"(uid {OLD})" in adoption(a_tenant(), replace(KEPT, since="")).message


def test_an_older_object_with_an_adopt_that_is_no_uid_is_not_acted_on() -> None:
    with pytest.raises(ValidationError, match="must be the uid"):
        a_tenant(database={"adopt": "acme"})
