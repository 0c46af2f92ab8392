"""What runs of a tenant in each state, and in which order a paused one stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.operator.factory import a_database, a_tenant, member, what_is_observed

from okitoki.database.state import DatabaseState
from okitoki.kube import labels
from okitoki.reconcile.conditions import summary
from okitoki.reconcile.kind import Outcome
from okitoki.tenant import decide
from okitoki.tenant.build import build
from okitoki.tenant.conditions import conditions
from okitoki.tenant.facts import AppState, Observed, Volumes
from okitoki.tenant.hibernation import Running, running

PAUSED = a_tenant(state="Paused")
NO_DATABASE = DatabaseState((), ("postgres-1", "postgres-2"))


def observed(**changes: Any) -> Observed:
    """The app has ended, the members have been told, the database runs."""
    found = {"app": AppState(), "database_replicas": 3, "stop_announced": True, "profile": None, **changes}
    return what_is_observed(PAUSED, **found)


def asleep(**changes: Any) -> Observed:
    return observed(database_replicas=0, database=NO_DATABASE, **changes)


def paused(**changes: Any) -> Running:
    return running(PAUSED, observed(**changes))


def scale(found: Observed) -> tuple[int, int]:
    """Replicas of app and database as built."""
    made = {f"{item['kind']}/{item['metadata']['name']}": item for item in build(PAUSED, found)}
    return made["Deployment/app"]["spec"]["replicas"], made["StatefulSet/postgres"]["spec"]["replicas"]


def test_every_tenant_but_a_paused_one_runs_whole() -> None:
    for state in ("Active", "Restricted", "Suspended"):
        assert running(a_tenant(state=state), what_is_observed()) == Running(2, 3)


def test_the_database_waits_for_the_last_pod_of_the_app() -> None:
    found = paused(app=AppState(ready=0, pods=1))
    assert (found.app, found.database, found.announce) == (0, 3, False)
    assert "1 pods of app" in found.waiting


def test_the_members_are_told_before_they_stop() -> None:
    found = observed(stop_announced=False)
    assert running(PAUSED, found).announce
    assert scale(found) == (0, 3)
    assert [
        (action.name, action.data) for action in decide.decide(PAUSED, found) if action.name == decide.ANNOUNCE_STOP
    ] == [(decide.ANNOUNCE_STOP, {"stops": True})]
    assert scale(observed()) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dynamic_configuration": None}, "still being made"),
        (
            {"database": DatabaseState((member("postgres-1"), member("postgres-2")), ("postgres-1",))},
            "a failover is let",
        ),
        ({"database": a_database(voters=())}, "0 of 1 synchronous standbys"),
        (
            {
                "database": DatabaseState(
                    (member("postgres-0", "primary"), member("postgres-1", state="running"), member("postgres-2")),
                    ("postgres-1",),
                )
            },
            "0 of 1 synchronous standbys",
        ),
    ],
    ids=["bootstrap", "failover", "no voters", "the voter does not stream"],
)
def test_a_database_that_only_one_server_has_whole_is_not_stopped(changes: dict[str, Any], words: str) -> None:
    found = paused(**changes)
    assert found.database == 3
    assert not found.announce
    assert words in found.waiting
    assert "Stopping" in {item.reason for item in conditions(PAUSED, observed(**changes), Outcome())}


def test_one_standby_of_two_is_enough() -> None:
    two = DatabaseState((member("postgres-0", "primary"), member("postgres-1")), ("postgres-1",))
    assert paused(database=two).database == 0


def test_a_database_on_its_way_down_is_not_taken_for_one_that_failed() -> None:
    """The primary is gone first: what was begun is finished all the same."""
    ending = DatabaseState((member("postgres-2", ready=False),), ("postgres-1", "postgres-2"))
    found = paused(database_replicas=0, database=ending)
    assert (found.app, found.database) == (0, 0)
    assert "postgres-2" in found.waiting


def test_no_other_primary_is_made_of_a_database_that_stops() -> None:
    asked = PAUSED.metadata.model_copy(update={"annotations": {labels.SWITCHOVER: "2026-11-24T12:00:00Z"}})
    found = decide.switch_over(PAUSED.model_copy(update={"metadata": asked}), observed())
    assert found is not None
    assert found.data["address"] is None
    assert "ask again when the tenant is awake" in found.reason


def test_asleep_it_is_ready_and_says_so() -> None:
    found = asleep(volumes=Volumes("1Gi", {f"data-postgres-{i}": 2**30 for i in range(3)}))
    ready = summary(conditions(PAUSED, found, Outcome()))
    assert (ready.status, ready.reason) == ("True", "Paused")
    assert "data are kept on 3 volumes" in ready.message
    assert "set it to Active" in ready.message
    assert decide.decide(PAUSED, found) == []


def test_a_tenant_that_is_made_paused_gets_no_pod() -> None:
    found = asleep(dynamic_configuration=None, stop_announced=False)
    found = replace(found, database_replicas=None, database=DatabaseState((), ()))
    assert scale(found) == (0, 0)
    assert summary(conditions(PAUSED, found, Outcome())).reason == "Paused"


def test_a_statefulset_that_somebody_removed_under_running_members_comes_back_to_be_stopped_in_order() -> None:
    found = observed(database_replicas=None, app=AppState(ready=1, pods=1))
    assert running(PAUSED, found).database == 3


def test_what_stands_in_the_way_of_its_data_is_told_of_a_sleeping_tenant_too() -> None:
    found = asleep(database_exists=True)
    found = replace(found, secrets=replace(found.secrets, database={}))
    assert summary(conditions(PAUSED, found, Outcome())).reason == "CredentialsLost"
    claimed = asleep(claimed={"+380441234567": "older"})
    assert summary(conditions(PAUSED, claimed, Outcome())).reason == "NumberClaimed"


def test_awake_it_runs_at_once_and_the_members_are_told_when_one_leads() -> None:
    tenant = a_tenant()
    found = what_is_observed(tenant, app=AppState(), database=NO_DATABASE, database_replicas=0, stop_announced=True)
    assert running(tenant, found) == Running(2, 3)
    assert decide.ANNOUNCE_STOP not in {action.name for action in decide.decide(tenant, found)}
    leads = replace(found, database=a_database())
    assert decide.decide(tenant, leads)[0].data == {"stops": False}


def test_a_database_that_wakes_is_not_told_as_one_that_lost_its_primary() -> None:
    tenant = a_tenant()
    waking = what_is_observed(tenant, database=NO_DATABASE, stop_announced=True)
    lost = replace(waking, stop_announced=False)
    told = {
        observed.stop_announced: next(
            item for item in conditions(tenant, observed, Outcome()) if item.type == "DatabaseReady"
        )
        for observed in (waking, lost)
    }
    assert (told[True].reason, told[True].warning) == ("Waking", False)
    assert (told[False].reason, told[False].warning) == ("NoPrimary", True)


def test_a_suspended_tenant_is_ready_in_its_own_words() -> None:
    tenant = a_tenant(state="Suspended")
    ready = summary(conditions(tenant, what_is_observed(tenant), Outcome()))
    assert (ready.status, ready.reason) == ("True", "Suspended")
    failed = summary(conditions(tenant, what_is_observed(tenant, app=AppState()), Outcome()))
    assert (failed.status, failed.reason) == ("False", "NoPodReady")
