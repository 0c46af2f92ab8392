"""What counts as unchanged, whatever order answers and events come in."""

from __future__ import annotations

from typing import Any

import pytest

from okitoki.kube import labels
from okitoki.kube.metadata_cache import TRUSTED_SECONDS, MetadataCache, record
from okitoki.kube.resources import NAMESPACE, ROLE, SERVICE

ACME = "tenant-acme"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> MetadataCache:
    found = MetadataCache(clock)
    found.replace(SERVICE, [], "10")
    return found


def service(version: int, name: str = "app", **further: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": ACME,
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "labels": labels.owned("app", tenant="acme"),
            "annotations": {labels.APPLIED_HASH: "abc"},
            **further,
        }
    }


def known(cache: MetadataCache) -> list[str] | None:
    found = cache.unchanged(SERVICE, ACME)
    return (
        None
        if found is None
        else [f"{item['metadata']['name']} {item['metadata']['resourceVersion']}" for item in found]
    )


def test_a_kind_that_is_not_followed_must_be_read(cache: MetadataCache) -> None:
    assert cache.unchanged(ROLE, ACME) is None
    assert cache.told(ROLE, "ADDED", service(11))
    cache.answered(ROLE, service(11), as_wanted=True)
    assert cache.unchanged(ROLE, ACME) is None


def test_where_nothing_is_nothing_need_be_read(cache: MetadataCache) -> None:
    assert known(cache) == []


def test_our_own_write_is_known_and_its_echo_is_no_news(cache: MetadataCache) -> None:
    cache.answered(SERVICE, service(11), as_wanted=True)
    assert known(cache) == ["app 11"]
    assert not cache.told(SERVICE, "ADDED", service(11))
    assert known(cache) == ["app 11"]


def test_the_echo_may_come_before_the_answer(cache: MetadataCache) -> None:
    assert cache.told(SERVICE, "ADDED", service(11))
    assert known(cache) is None
    cache.answered(SERVICE, service(11), as_wanted=True)
    assert known(cache) == ["app 11"]


def test_an_answer_that_is_not_what_was_written_is_looked_at_again(cache: MetadataCache) -> None:
    cache.answered(SERVICE, service(11), as_wanted=False)
    assert known(cache) is None
    assert cache.told(SERVICE, "ADDED", service(11)), "nobody has compared it yet"


def test_a_change_by_anybody_must_be_read_until_it_was_compared(cache: MetadataCache) -> None:
    cache.answered(SERVICE, service(11), as_wanted=True)
    assert cache.told(SERVICE, "MODIFIED", service(12))
    assert known(cache) is None
    cache.compared(SERVICE, service(11))
    assert known(cache) is None, "what was compared was an older one"
    cache.compared(SERVICE, service(12))
    assert known(cache) == ["app 12"]


def test_a_late_answer_does_not_hide_a_change(cache: MetadataCache) -> None:
    cache.told(SERVICE, "MODIFIED", service(12))
    cache.answered(SERVICE, service(11), as_wanted=True)
    assert known(cache) is None


def test_a_late_answer_does_not_raise_the_dead(cache: MetadataCache) -> None:
    cache.told(SERVICE, "ADDED", service(11))
    cache.told(SERVICE, "DELETED", service(12))
    assert known(cache) == []
    cache.answered(SERVICE, service(11), as_wanted=True)
    assert known(cache) is None, "it must be looked whether it is there"


def test_a_late_farewell_of_an_earlier_one_does_not_bury_its_successor(cache: MetadataCache) -> None:
    cache.answered(SERVICE, service(13), as_wanted=True)
    assert not cache.told(SERVICE, "DELETED", service(12))
    assert known(cache) == ["app 13"]


def test_what_is_being_deleted_must_be_read(cache: MetadataCache) -> None:
    cache.told(SERVICE, "MODIFIED", service(11, deletionTimestamp="2026-11-29T12:00:00Z"))
    cache.compared(SERVICE, service(11))
    assert known(cache) is None


def test_after_a_gap_nothing_is_known_and_then_only_what_is_still_the_same(cache: MetadataCache) -> None:
    cache.answered(SERVICE, service(11), as_wanted=True)
    cache.answered(SERVICE, service(12, "old"), as_wanted=True)
    cache.lost(SERVICE)
    assert known(cache) is None
    cache.replace(SERVICE, [record(SERVICE, service(11))], "20")
    assert known(cache) == ["app 11"]
    cache.lost(SERVICE)
    cache.replace(SERVICE, [record(SERVICE, service(25))], "30")
    assert known(cache) is None


def test_nothing_is_trusted_for_ever(cache: MetadataCache, clock: Clock) -> None:
    cache.answered(SERVICE, service(11), as_wanted=True)
    clock.now += TRUSTED_SECONDS + 1
    assert known(cache) is None
    cache.compared(SERVICE, service(11))
    assert known(cache) == ["app 11"]


def test_whose_it_is_and_who_controls_it_is_known(cache: MetadataCache) -> None:
    cache.answered(SERVICE, service(11, ownerReferences=[{"controller": True}]), as_wanted=True)
    (found,) = cache.unchanged(SERVICE, ACME) or []
    assert found["metadata"]["labels"] == {labels.MANAGED_BY: labels.MANAGER, labels.TENANT: "acme"}
    assert found["metadata"]["ownerReferences"] == [{"controller": True}]
    assert (found["apiVersion"], found["kind"], found["metadata"]["uid"]) == ("v1", "Service", "uid-app")


def test_a_namespace_is_known_with_all_its_metadata(cache: MetadataCache) -> None:
    metadata = {
        "name": ACME,
        "uid": "u",
        "resourceVersion": "5",
        "labels": {labels.OWNER_UID: "t"},
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:metadata": {}}}],
    }
    assert cache.namespace(ACME) is None
    cache.replace(NAMESPACE, [record(NAMESPACE, {"metadata": metadata})], "10")
    found = cache.namespace(ACME) or {}
    assert found["metadata"]["labels"] == {labels.OWNER_UID: "t"}
    assert found["metadata"]["managedFields"] == [{"manager": "kubectl"}]
    cache.lost(NAMESPACE)
    assert cache.namespace(ACME) is None
