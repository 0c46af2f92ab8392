"""The work queue: one worker per key, nothing lost, back-off."""

from __future__ import annotations

import asyncio

import pytest

from okitoki.reconcile.queue import BACKOFF_LIMIT_SECONDS, WorkQueue, backoff_seconds


async def test_a_key_asked_for_twice_is_worked_on_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    assert len(queue) == 0


async def test_a_key_is_not_given_out_while_it_is_worked_on_and_a_change_meanwhile_is_not_lost() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.02)
    queue.done(key)
    assert await asyncio.wait_for(queue.get(), 1) == "a"


async def test_a_failing_key_does_not_delay_the_others() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("bad")
    queue.add("good")
    bad = await queue.get()
    queue.retry(bad)
    queue.done(bad)
    assert await asyncio.wait_for(queue.get(), 0.2) == "good"


async def test_of_two_wishes_the_earlier_counts_and_asking_now_cancels_both() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 30)
    queue.add_after("a", 0.01)
    queue.add_after("a", 30)
    assert await asyncio.wait_for(queue.get(), 1) == "a"
    queue.done("a")
    queue.add_after("a", 0.01)
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    await asyncio.sleep(0.03)
    assert len(queue) == 0


async def test_waiting_workers_get_one_key_each() -> None:
    queue: WorkQueue[int] = WorkQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in range(3):
        queue.add(key)
    assert sorted(await asyncio.wait_for(asyncio.gather(*workers), 1)) == [0, 1, 2]


def test_back_off_doubles_up_to_a_limit_with_jitter() -> None:
    assert [backoff_seconds(n, lambda: 1.0) for n in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert backoff_seconds(1, lambda: 0.0) == 0.25
    assert backoff_seconds(1000, lambda: 1.0) == BACKOFF_LIMIT_SECONDS


async def test_success_resets_the_back_off_and_a_server_may_ask_for_more() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(6):
        queue.retry("a")
    queue.succeeded("a")
    assert queue.retry("a") <= 0.5
    assert queue.retry("a", at_least=7.0) == 7.0
    queue.close()


async def test_what_comes_in_a_burst_after_the_work_is_met_together_and_the_first_after_a_pause_at_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_apart("a", 0.1)
    assert await queue.get() == "a"
    queue.add_apart("a", 0.1)
    queue.done("a")
    assert len(queue) == 0, "what the work itself made waits"
    queue.add_apart("a", 0.1)
    assert await asyncio.wait_for(queue.get(), 5) == "a"
    queue.done("a")
    await asyncio.sleep(0.15)
    queue.add_apart("a", 0.1)
    assert len(queue) == 1
    queue.add_apart("a", 0.1)
    assert await queue.get() == "a"
    queue.done("a")
    await asyncio.sleep(0.15)
    assert len(queue) == 0


async def test_a_change_of_the_spec_does_not_wait_for_the_end_of_a_burst() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add_apart("a", 30)
    queue.add("a")
    queue.done("a")
    assert await asyncio.wait_for(queue.get(), 1) == "a"
    queue.done("a")
    queue.add_apart("a", 30)
    queue.add("a")
    assert len(queue) == 1
    queue.close()


async def test_of_a_key_that_is_gone_nothing_is_kept() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.forget("a")
    queue.done("a")
    queue.add_apart("a", 30)
    assert len(queue) == 1, "a new object of the name does not wait for what the old one did"
