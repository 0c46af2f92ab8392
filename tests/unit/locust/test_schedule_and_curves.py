from __future__ import annotations

import pytest

from okitoki_locust.curves import CURVES, burst, ramp, steady
from okitoki_locust.schedule import OpenSchedule


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at


def test_starts_after_a_stall_keep_their_intended_times_and_none_is_left_out() -> None:
    clock = Clock()
    schedule = OpenSchedule(0.5, clock.now)
    assert schedule.take() == 100.0
    assert schedule.wait() == 0.5
    clock.at = 102.2  # a stall of four starts
    due = []
    while schedule.wait() == 0:
        due.append(schedule.take())
    assert due == [100.5, 101.0, 101.5, 102.0]
    assert schedule.wait() == pytest.approx(0.3)


def test_a_phase_moves_the_first_start_within_its_period() -> None:
    assert OpenSchedule(2.0, Clock().now, 0.25).take() == 100.5


@pytest.mark.parametrize("name", sorted(CURVES))
@pytest.mark.parametrize("peak", [1, 7, 100])
def test_every_curve_has_a_user_at_all_times_and_reaches_its_peak_and_no_more(name: str, peak: int) -> None:
    users = [CURVES[name](second / 2, peak, 60.0) for second in range(120)]
    assert min(users) >= 1
    assert max(users) == peak


def test_the_curves_are_what_their_names_say() -> None:
    assert {steady(at, 10, 60.0) for at in (0.0, 30.0, 59.0)} == {10}
    assert [ramp(at, 10, 50.0) for at in (0.0, 20.0, 40.0, 49.0)] == [1, 5, 10, 10]
    assert [burst(at, 10, 60.0) for at in (0.0, 14.9, 15.0, 19.9, 20.0)] == [2, 2, 10, 10, 2]
