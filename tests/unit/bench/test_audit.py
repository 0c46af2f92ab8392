"""Counting of an operator's calls in the API server's audit log."""

from __future__ import annotations

import json
from pathlib import Path

from bench import audit


def line(verb: str, resource: str = "pods", subresource: str = "") -> str:
    reference = {"resource": resource, **({"subresource": subresource} if subresource else {})}
    return json.dumps({"verb": verb, "objectRef": reference})


def test_calls_are_counted_by_verb_and_resource() -> None:
    found = audit.calls([line("get"), line("get"), line("patch", "tenants", "status"), line("create", "secrets")])
    assert found == {("get", "pods"): 2, ("patch", "tenants/status"): 1, ("create", "secrets"): 1}
    assert audit.by_verb(found) == {"create": 1, "get": 2, "patch": 1}
    assert audit.writes(found) == 2


def test_watches_leases_and_discovery_are_none_of_the_work() -> None:
    assert not audit.calls([line("watch"), line("update", "leases"), json.dumps({"verb": "get"})])


def test_a_look_begins_where_the_last_one_ended_and_leaves_a_line_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = audit.AuditLog(path)
    assert not log.since_last()
    half = line("delete")
    path.write_text(line("get") + "\n" + half[:10])
    assert log.since_last() == {("get", "pods"): 1}
    with path.open("a") as file:
        file.write(half[10:] + "\n")
    assert log.since_last() == {("delete", "pods"): 1}
    assert not log.since_last()


def test_only_the_operator_is_logged() -> None:
    first, last = audit.POLICY["rules"]
    assert first["users"] == [audit.OPERATOR]
    assert last == {"level": "None"}
