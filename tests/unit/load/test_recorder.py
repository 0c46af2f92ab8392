from __future__ import annotations

import asyncio

from okitoki_load.ledger import FAIL, OK, Clock, Operation
from okitoki_load.recorder import Gap, Schedule, latencies, longest_gap, longest_gap_around, successes


def operation(due: float, finished: float, outcome: str = OK) -> Operation:
    return Operation(f"{due}", "w", 1, {}, due, outcome, finished)


def test_failures_do_not_end_a_gap() -> None:
    times = successes([operation(0, 1), operation(1, 2, FAIL), operation(2, 5)])
    assert longest_gap(times, 0, 6) == Gap(1, 4)


def test_silence_from_the_start_to_the_end_is_one_gap() -> None:
    assert longest_gap([], 10, 40) == Gap(10, 30)
    assert longest_gap([12], 10, 40) == Gap(12, 28)


def test_a_gap_belongs_to_the_fault_that_it_overlaps_and_is_not_cut() -> None:
    times = [0.0, 1.0, 4.0, 5.0, 9.0]
    assert longest_gap_around(times, 0, 10, (2.0, 3.0)) == Gap(1, 3)
    assert longest_gap_around(times, 0, 10, (5.5, 20.0)) == Gap(5, 4)


def test_latency_counts_from_the_intended_start() -> None:
    found = latencies([operation(1.0, 1.1), operation(2.0, 2.2), operation(3.0, 9.0), operation(4.0, 99.0, FAIL)])
    assert found["worst"] == 6.0
    assert latencies([]) == {}


async def test_the_schedule_does_not_wait_for_a_slow_consumer() -> None:
    schedule, stop = Schedule(100, Clock()), asyncio.Event()
    starts = []
    async for due in schedule.starts(stop, 0.3):
        starts.append(due)
        if len(starts) == 2:
            await asyncio.sleep(0.2)
    assert len(starts) == 30
    assert abs((starts[-1] - starts[0]) - 0.29) < 1e-6
    assert schedule.late > 0
    assert schedule.worst_delay > 0.15


async def test_the_schedule_stops_when_told() -> None:
    schedule, stop = Schedule(0.1, Clock()), asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)
    assert len([due async for due in schedule.starts(stop)]) == 1
