from __future__ import annotations

from okitoki_chaos.dishonest import self_check


def test_a_server_that_acknowledges_and_drops_is_caught() -> None:
    found = self_check()
    assert found["passed"], found
    assert found["found"]["keeps all"]["lost"] == 0
    assert found["found"]["keeps nothing"]["lost"] == found["found"]["keeps nothing"]["acknowledged"]
