"""The comparison that decides whether anything is written."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from okitoki.kube.diff import difference, parse_quantity, stamp

WANTED = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "app", "labels": {"a": "b"}},
    "spec": {
        "replicas": 2,
        "paused": False,
        "template": {"spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "1000m"}}}]}},
        "empty": {},
        "none": [],
    },
}


def lived(**changes: Any) -> dict[str, Any]:
    """The object as the API server gives it back: defaults added, empty values dropped, quantities in its own form."""
    live = copy.deepcopy(stamp(WANTED))
    live["metadata"]["uid"] = "1"
    live["metadata"]["labels"]["theirs"] = "x"
    spec = live["spec"]
    spec["revisionHistoryLimit"] = 10
    del spec["paused"], spec["empty"], spec["none"]
    containers = spec["template"]["spec"]["containers"]
    containers[0]["resources"]["limits"]["cpu"] = "1"
    containers.append({"name": "injected"})
    return live | changes


def test_defaults_additions_of_others_and_canonical_quantities_are_no_difference() -> None:
    assert difference(stamp(WANTED), lived()) is None


def test_a_changed_value_is_found_by_its_path() -> None:
    live = lived()
    live["spec"]["replicas"] = 7
    assert difference(stamp(WANTED), live) == "spec.replicas"
    live = lived()
    live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "2"
    assert difference(stamp(WANTED), live) == "spec.template.spec.containers[app].resources.limits.cpu"


def test_a_missing_label_a_missing_container_and_a_switched_flag_are_differences() -> None:
    live = lived()
    del live["metadata"]["labels"]["a"]
    assert difference(stamp(WANTED), live) == "metadata.labels.a"
    live = lived()
    del live["spec"]["template"]["spec"]["containers"][0]
    assert difference(stamp(WANTED), live) == "spec.template.spec.containers[app]"
    live = lived()
    live["spec"]["paused"] = True
    assert difference(stamp(WANTED), live) == "spec.paused"


def test_a_field_that_is_no_longer_wanted_is_noticed_by_the_hash() -> None:
    less = copy.deepcopy(WANTED)
    del less["spec"]["replicas"]
    found = difference(stamp(less), lived())
    assert found is not None
    assert found.endswith("applied-hash")


def test_items_of_one_name_in_several_namespaces_are_a_whole() -> None:
    """Found by the fuzz: the RoleBinding of a tenant with two regions was written in every pass."""
    subjects = [{"kind": "ServiceAccount", "name": "edge", "namespace": name} for name in ("kyiv", "lviv")]
    wanted = stamp({"metadata": {"name": "edge"}, "subjects": subjects})
    assert difference(wanted, copy.deepcopy(wanted)) is None
    assert difference(wanted, {**wanted, "subjects": subjects[:1]}) == "subjects"
    assert difference(wanted, {**wanted, "subjects": subjects[::-1]}) == "subjects[0].namespace"


def test_lists_without_names_are_compared_as_wholes() -> None:
    wanted = stamp({"metadata": {"name": "x"}, "rules": [{"verbs": ["get", "list"]}]})
    live = copy.deepcopy(wanted)
    assert difference(wanted, live) is None
    live["rules"][0]["verbs"].append("delete")
    assert difference(wanted, live) == "rules[0].verbs"


@pytest.mark.parametrize(("text", "value"), [("1Gi", 2**30), ("500m", Decimal("0.5")), ("2", 2), ("1k", 1000)])
def test_quantities(text: str, value: Any) -> None:
    assert parse_quantity(text) == value


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity("lots")


def test_a_builders_tuple_is_a_list() -> None:
    wanted = stamp({"metadata": {"name": "x"}, "args": ("a", {"name": "b"})})
    assert difference(wanted, {**wanted, "args": ["a", {"name": "b"}]}) is None
    assert difference(wanted, {**wanted, "args": ["a"]}) == "args"
