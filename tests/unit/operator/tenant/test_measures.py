"""What is measured of a tenant, and which changes are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.operator.factory import AUTHORITY, a_database, a_tenant, member, what_is_observed

from okitoki.api.status import TenantStatus
from okitoki.database.reinitialised import Reinitialised
from okitoki.kube.pki import KeyPair
from okitoki.metrics.domain import Series
from okitoki.reconcile.kind import Outcome
from okitoki.tenant.facts import AppState
from okitoki.tenant.kind import TenantKind
from okitoki.tenant.measures import FAILOVERS, last_primary, measures, news

NO_PRIMARY = a_database(members=(member("postgres-1"), member("postgres-2")), voters=())


def test_a_tenant_that_is_well() -> None:
    database = a_database(
        members=(member("postgres-0", "primary", timeline=3), member("postgres-1"), member("postgres-2"))
    )
    observed = what_is_observed(database=database)
    found = measures(a_tenant(), observed)
    leaf = AUTHORITY.leaf(observed.secrets.tls)
    assert leaf is not None
    assert found == {
        "okitoki_tenant_database_primary": 1,
        "okitoki_tenant_database_members": 3,
        "okitoki_tenant_database_members_wanted": 3,
        "okitoki_tenant_database_synchronous_standbys": 2,
        "okitoki_tenant_database_timeline": 3,
        "okitoki_tenant_app_pods": 2,
        "okitoki_tenant_landlines_active": {},
        "okitoki_tenant_app_pods_wanted": 2,
        "okitoki_certificate_expiry_seconds": leaf.expires.timestamp(),
    }
    Series().put(("Tenant", "acme"), found)


def test_without_a_primary_there_is_no_timeline_rather_than_a_wrong_one() -> None:
    found = measures(a_tenant(), what_is_observed(database=NO_PRIMARY))
    assert found["okitoki_tenant_database_primary"] == 0
    assert found["okitoki_tenant_database_synchronous_standbys"] == 0
    assert "okitoki_tenant_database_timeline" not in found


def test_of_a_sleeping_tenant_nothing_is_missed() -> None:
    """Alerts compare what is with what is wanted, and look for a primary where there is one to be."""
    paused = a_tenant(state="Paused")
    asleep = replace(what_is_observed(paused, database=NO_PRIMARY), app=AppState(), database_replicas=0)
    found = measures(paused, asleep)
    assert found["okitoki_tenant_database_members_wanted"] == 0
    assert found["okitoki_tenant_app_pods_wanted"] == 0
    assert "okitoki_tenant_database_primary" not in found
    assert "okitoki_tenant_database_synchronous_standbys" not in found


def test_nothing_is_said_of_a_strangers_namespace() -> None:
    assert measures(a_tenant(), what_is_observed(namespace="foreign")) == {}


def test_a_failover_is_told_once_although_nobody_was_primary_in_between() -> None:
    tenant, kind = a_tenant(), TenantKind()
    other = a_database(members=(member("postgres-0"), member("postgres-1", "primary"), member("postgres-2")))
    status: dict[str, object] = {}
    told = []
    for database in (a_database(), NO_PRIMARY, NO_PRIMARY, other, other):
        after = dict(kind.status(tenant, what_is_observed(database=database), Outcome(before=status)))
        told += [(item.message, item.counter) for item in kind.news(status, after)]
        status = after
    assert told == [("the primary of the database was postgres-0 and is postgres-1 now", FAILOVERS)]


@pytest.mark.parametrize("before", [{}, {"database": {}}, {"database": {"primary": "postgres-0"}}])
def test_the_first_primary_is_no_failover(before: dict[str, object]) -> None:
    observed = what_is_observed()
    after = {"database": {"lastPrimary": last_primary(before, observed)}}
    assert after == {"database": {"lastPrimary": "postgres-0"}}
    assert news(before, after) == []


def test_a_member_that_is_made_anew_is_in_the_status_and_told_once() -> None:
    tenant, kind = a_tenant(), TenantKind()
    found = Reinitialised("postgres-2", "2026-11-29T12:00:00Z", "postgres-2 has made no progress for 180 s")
    again = replace(found, at="2026-11-29T13:00:00Z")
    status: dict[str, object] = {}
    told = []
    for seen in (None, found, found, again):
        observed = replace(what_is_observed(), reinitialised=seen)
        after = dict(kind.status(tenant, observed, Outcome(before=status)))
        TenantStatus.model_validate(after)
        told += [(item.reason, item.message, item.warning) for item in kind.news(status, after)]
        status = after
    text = "postgres-2 is made anew from the primary: postgres-2 has made no progress for 180 s"
    assert told == [("MemberReinitialised", text, True)] * 2
    assert status["database"]["lastReinitialised"]["at"] == again.at  # type: ignore[index]


def test_a_wiped_status_tells_nothing() -> None:
    assert news({"database": {"lastPrimary": "postgres-0"}}, {}) == []


def test_a_broken_certificate_has_no_expiry_and_stops_nothing() -> None:
    observed = what_is_observed()
    broken = replace(observed.secrets, tls=KeyPair("no certificate", "key"))
    found = measures(a_tenant(), replace(observed, secrets=broken))
    assert "okitoki_certificate_expiry_seconds" not in found
    assert found["okitoki_tenant_app_pods"] == 2
