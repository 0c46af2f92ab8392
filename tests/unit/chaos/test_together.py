from __future__ import annotations

import pytest

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.together import choose

MEMBERS = {"postgres-0": "a", "postgres-1": "b", "postgres-2": "c"}


def test_the_leader_stays_where_it_shares_a_node_with_a_member() -> None:
    assert choose(MEMBERS, [("one", "a"), ("two", "c")], leader="two") == ("postgres-2", "two")


def test_the_other_operator_must_lead_when_only_it_shares_a_node() -> None:
    assert choose(MEMBERS, [("one", "a"), ("two", "d")], leader="two") == ("postgres-0", "one")


def test_nobody_shares_a_node() -> None:
    with pytest.raises(ChaosError, match="no member"):
        choose(MEMBERS, [("one", "d")], leader="one")
