from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from unit.chaos.fakes import Platform

from okitoki_chaos import lock as locks
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.guard import Refused
from okitoki_chaos.lock import ClusterLock


class Time:
    """A clock that sleeping moves; `at` is done when a moment has come."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment, act in [one for one in self.at if one[0] <= self.now]:
            self.at.remove((moment, act))
            act()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The lock's own clock, and that of the stamps."""
    found, begun = Time(), datetime.now(UTC)

    class Stamps(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return begun + timedelta(seconds=found.now)

    monkeypatch.setattr(locks, "time", found)
    monkeypatch.setattr(locks, "datetime", Stamps)
    return found


def lease(holder: str, age: float, lasts: int = locks.LEASE_SECONDS) -> dict[str, Any]:
    renewed = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": lasts}
    return {"metadata": {"resourceVersion": "7"}, "spec": spec}


def test_a_second_drill_is_refused_as_soon_as_the_first_one_renews(clock: Time) -> None:
    platform = Platform()
    platform.lease = lease("one/a", 1)

    def renew() -> None:
        platform.lease = lease("one/a", -10)

    clock.at.append((10, renew))
    with pytest.raises(Refused, match="another drill runs \\(one/a\\)"):
        ClusterLock(platform, "two").take()
    assert clock.now < locks.DEAD_SECONDS


def test_the_lock_of_a_killed_drill_goes_to_the_next_one_within_two_minutes(clock: Time) -> None:
    platform = Platform()
    platform.lease = lease("drill-1-s3/killed", 1)
    said: list[str] = []
    ClusterLock(platform, "drill-1-s3", said.append).take()
    assert locks.DEAD_SECONDS <= clock.now <= 120
    (patch,) = [line for line in platform.log if line.startswith("kubectl patch")]
    assert json.loads(patch.split(" -p ")[1])["metadata"] == {"resourceVersion": "7"}
    assert "drill-1-s3/killed" in said[0]


def test_a_lease_that_ran_out_while_the_api_server_was_away_is_not_taken_from_a_living_drill(clock: Time) -> None:
    platform = Platform()
    platform.lease = lease("one/a", 3600)

    def renew() -> None:
        platform.lease = lease("one/a", 0)

    clock.at.append((locks.RENEW_SECONDS * 2, renew))
    with pytest.raises(Refused, match="another drill runs"):
        ClusterLock(platform, "two").take()


def test_a_lease_that_lasts_for_long_is_not_waited_for(clock: Time) -> None:
    platform = Platform()
    platform.lease = lease("old/a", 1, 1800)
    with pytest.raises(Refused, match=r"or its lock runs out in 17\d\d s"):
        ClusterLock(platform, "two").take()
    assert clock.now == 0


def test_a_lock_that_was_given_back_meanwhile_is_taken(clock: Time) -> None:
    platform = Platform()
    platform.lease = lease("one/a", 1)

    def release() -> None:
        platform.lease = None

    clock.at.append((5, release))
    mine = ClusterLock(platform, "two")
    mine.take()
    assert platform.lease is not None
    assert platform.lease["spec"]["holderIdentity"] == mine.holder


def test_a_drill_renews_its_own_lock_and_gives_it_back() -> None:
    platform = Platform()
    with ClusterLock(platform, "one") as mine:
        mine.renew()
        mine.require()
        assert [line for line in platform.log if line.startswith("kubectl patch lease")]
    assert "kubectl delete lease okitoki-drill -n okitoki-system --ignore-not-found" in platform.log


def test_a_drill_that_lost_its_lock_injects_nothing_more() -> None:
    platform = Platform()
    mine = ClusterLock(platform, "one")
    mine.take()
    platform.lease = lease("other/b", 0)
    mine.renew()
    with pytest.raises(Refused, match="other/b"):
        mine.require()


def test_a_holder_whose_api_server_is_away_keeps_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = Platform()
    mine = ClusterLock(platform, "one")
    mine.take()
    answers = iter(["away", "away"])
    tried: list[str] = []

    def renew() -> None:
        tried.append("x")
        if next(answers, None):
            raise ChaosError("the API server is away")
        mine._stop.set()

    monkeypatch.setattr(mine, "renew", renew)
    monkeypatch.setattr(locks, "RENEW_SECONDS", 0.001)
    mine._keep()
    assert len(tried) == 3
    mine.require()


def test_anothers_lock_is_not_given_back() -> None:
    platform = Platform()
    platform.lease = lease("other", 0)
    ClusterLock(platform, "one").release()
    assert not [line for line in platform.log if "delete" in line]
