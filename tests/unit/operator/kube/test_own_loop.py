"""The lease is renewed by a loop that nothing else keeps busy."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from okitoki.kube.own_loop import OwnLoop


async def test_its_work_goes_on_while_this_loop_is_busy() -> None:
    turns = 0

    async def renew() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.005)

    async with OwnLoop("test") as own:
        renewing = asyncio.create_task(own.run(renew()))
        await asyncio.sleep(0)
        before = turns
        end = time.monotonic() + 10
        # Busy as a reconcile is: Python code, which only ever lends the interpreter out.
        while turns < before + 5:
            assert time.monotonic() < end, "no turn in ten seconds"
        renewing.cancel()


async def test_its_result_and_its_errors_come_back() -> None:
    async def result() -> int:
        return threading.get_ident()

    async def fails() -> None:
        raise ValueError("no")

    async with OwnLoop("test") as own:
        assert await own.run(result()) != threading.get_ident()
        with pytest.raises(ValueError, match="no"):
            await own.run(fails())


async def test_to_cancel_here_cancels_there() -> None:
    ended = threading.Event()
    begun = asyncio.Event()
    here = asyncio.get_running_loop()

    async def waits() -> None:
        here.call_soon_threadsafe(begun.set)
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async with OwnLoop("test") as own:
        waiting = asyncio.create_task(own.run(waits()))
        await begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await asyncio.to_thread(ended.wait, 20)
