"""Whose a namespace is."""

from __future__ import annotations

from typing import Any

import pytest

from okitoki.kube import labels
from okitoki.kube.ownership import namespace_state


@pytest.mark.parametrize(
    ("metadata", "state"),
    [
        ({"labels": {labels.OWNER_UID: "me"}}, "ours"),
        ({"labels": {labels.OWNER_UID: "other"}}, "foreign"),
        ({}, "foreign"),
        ({"labels": {labels.OWNER_UID: "me"}, "deletionTimestamp": "now"}, "terminating"),
    ],
)
def test_only_our_own_uid_makes_a_namespace_ours(metadata: dict[str, Any], state: str) -> None:
    assert namespace_state({"metadata": metadata}, "me") == state


def test_no_namespace_is_absent() -> None:
    assert namespace_state(None, "me") == "absent"
