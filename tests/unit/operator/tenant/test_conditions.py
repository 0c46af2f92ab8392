"""Each condition of a tenant, and the actions that are decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.operator.factory import KYIV, a_database, a_tenant, member, what_is_observed

from okitoki.database.spec import dynamic_configuration
from okitoki.database.state import DatabaseState
from okitoki.reconcile.conditions import Condition, summary
from okitoki.reconcile.kind import Outcome
from okitoki.tenant import decide
from okitoki.tenant.build.common import database_cluster
from okitoki.tenant.conditions import conditions
from okitoki.tenant.facts import AppState, RegionFacts, Volumes, claimed_numbers


def found(kind: str, tenant: Any = None, outcome: Outcome | None = None, **observed: Any) -> Condition:
    tenant = tenant or a_tenant()
    made = conditions(tenant, what_is_observed(tenant, **observed), outcome or Outcome())
    return next(item for item in made if item.type == kind)


def test_all_is_well() -> None:
    made = conditions(a_tenant(), what_is_observed(), Outcome())
    assert [item.type for item in made] == [
        "NamespaceOwned",
        "DatabaseReady",
        "AppReady",
        "NumbersProvisioned",
        "RoutesPublished",
        "LandlineArmed",
        "CarrierForwardingArmed",
        "CertificateCurrent",
    ]
    assert summary(made).status == "True"


@pytest.mark.parametrize(
    ("state", "reason", "warning"),
    [
        ("absent", "NamespaceMissing", False),
        ("foreign", "NamespaceNotOwned", True),
        ("terminating", "NamespaceTerminating", False),
    ],
)
def test_the_namespace(state: str, reason: str, warning: bool) -> None:
    condition = found("NamespaceOwned", namespace=state)
    assert (condition.status, condition.reason, condition.warning) == ("False", reason, warning)


@pytest.mark.parametrize(
    ("database", "reason", "warning"),
    [
        (DatabaseState((member("postgres-0"), member("postgres-1")), ()), "NoPrimary", True),
        (a_database(members=(member("postgres-0", "primary"), member("postgres-1"))), "MembersMissing", False),
        (
            a_database(
                members=(
                    member("postgres-0", "primary"),
                    member("postgres-1"),
                    member("postgres-2", state="starting"),
                )
            ),
            "MembersMissing",
            False,
        ),
        (a_database(voters=()), "NotSynchronous", False),
    ],
)
def test_a_database_that_is_not_in_order(database: DatabaseState, reason: str, warning: bool) -> None:
    condition = found("DatabaseReady", database=database)
    assert (condition.status, condition.reason, condition.warning) == ("False", reason, warning)


def test_a_database_that_is_being_made_is_no_failure() -> None:
    condition = found("DatabaseReady", database=DatabaseState((), ()), dynamic_configuration=None)
    assert (condition.reason, condition.warning) == ("Creating", False)


def test_a_member_that_cannot_run_is_named_with_the_cause() -> None:
    broken = member("postgres-2", ready=False, problem="not scheduled: no node has room")
    database = a_database(members=(member("postgres-0", "primary"), member("postgres-1"), broken))
    assert "postgres-2: not scheduled: no node has room" in found("DatabaseReady", database=database).message


def test_storage_that_cannot_grow_is_told() -> None:
    tenant = a_tenant(database={"storage": {"size": "2Gi"}})
    volumes = Volumes("1Gi", {"data-postgres-0": 2**30}, expandable=False)
    assert found("DatabaseReady", tenant, volumes=volumes).reason == "StorageNotExpandable"
    assert decide.grow_volumes(tenant, what_is_observed(tenant, volumes=volumes)) is None
    grows = replace(volumes, expandable=True)
    action = decide.grow_volumes(tenant, what_is_observed(tenant, volumes=grows))
    assert action is not None
    assert action.data == {"claims": ["data-postgres-0"], "size": "2Gi"}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (AppState(0, 0, "app-x: app: CrashLoopBackOff"), "NoPodReady"),
        (AppState(1, 2), "PodsMissing"),
        (AppState(2, 1), "Updating"),
    ],
)
def test_an_app_that_is_not_ready(state: AppState, reason: str) -> None:
    condition = found("AppReady", app=state)
    assert condition.reason == reason
    assert state.problem in condition.message


def test_a_claimed_number_names_its_tenant_and_the_mend() -> None:
    condition = found("NumbersProvisioned", claimed={"+380441234567": "other"})
    assert condition.reason == "NumberClaimed"
    assert "+380441234567 is tenant other's" in condition.message
    assert "remove it from one of both" in condition.message


def test_numbers_wait_for_the_app_and_count_when_it_took_them() -> None:
    assert found("NumbersProvisioned", profile=None).reason == "WaitingForApp"
    assert found("NumbersProvisioned", profile={}).reason == "Provisioning"
    done = Outcome(acted={decide.PROVISION: None})
    assert found("NumbersProvisioned", profile={}, outcome=done).status == "True"
    refused = Outcome(acted={decide.PROVISION: "the app answered 422 no"})
    condition = found("NumbersProvisioned", profile={}, outcome=refused)
    assert condition.reason == "Refused"
    assert "422 no" in condition.message


def test_a_region_that_is_missing_comes_before_one_that_is_not_told_yet() -> None:
    tenant = a_tenant(regions=["kyiv", "lviv"])
    assert found("RoutesPublished", tenant, regions=(KYIV, RegionFacts("lviv"))).reason == "RegionMissing"
    assert found("RoutesPublished", published=frozenset()).reason == "Publishing"


def test_the_app_is_told_only_when_it_says_something_else() -> None:
    tenant = a_tenant(numbers=[{"number": "+380441234567", "queue": "a"}, {"number": "+380441234568", "queue": "b"}])
    observed = what_is_observed(tenant)
    assert observed.profile is not None
    backwards = {**observed.profile, "numbers": list(reversed(observed.profile["numbers"]))}
    assert decide.provision(tenant, replace(observed, profile=backwards)) is None
    assert decide.provision(tenant, replace(observed, profile=None)) is None
    action = decide.provision(tenant, replace(observed, profile={}))
    assert action is not None
    assert action.data["displayName"] == "Acme"


def test_patroni_is_told_only_what_differs_and_only_with_a_primary() -> None:
    tenant = a_tenant()
    observed = what_is_observed(tenant)
    wanted = dynamic_configuration(database_cluster(tenant, observed))
    assert decide.configure(tenant, replace(observed, dynamic_configuration=wanted)) is None
    older = replace(observed, dynamic_configuration={**wanted, "ttl": 30})
    action = decide.configure(tenant, older)
    assert action is not None
    assert action.data == {"address": "198.19.0.1", "changes": {"ttl": 20}}
    assert decide.configure(tenant, replace(older, database=DatabaseState((), ()))) is None


def test_nothing_is_done_in_a_foreign_namespace() -> None:
    assert decide.decide(a_tenant(), what_is_observed(namespace="foreign", profile={})) == []


def claimant(name: str, created: str, *numbers: str, **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": created, **metadata},
        "spec": {"numbers": [{"number": number, "queue": "q"} for number in numbers]},
    }


def test_the_oldest_tenant_of_a_number_keeps_it_unless_it_is_being_deleted() -> None:
    old, new = claimant("old", "1", "+1", "+2"), claimant("new", "2", "+2", "+3")
    assert claimed_numbers(old, [old, new]) == {}
    assert claimed_numbers(new, [old, new]) == {"+2": "old"}
    leaving = claimant("old", "1", "+2", deletionTimestamp="now")
    assert claimed_numbers(new, [leaving, new]) == {}
