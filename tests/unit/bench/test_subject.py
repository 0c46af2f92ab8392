"""An operator as a process that is measured."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from bench.subject import Running, Subject


async def started(folder: Path, code: str) -> Running:
    return await Running.start(Subject("one", (sys.executable, "-c", code)), folder / "kubeconfig", folder / "log")


async def test_an_operator_that_ends_ends_the_wait_for_what_it_would_do(tmp_path: Path) -> None:
    running = await started(tmp_path, "raise SystemExit(3)")
    with pytest.raises(RuntimeError, match=r"ended with 3;"):
        await running.during(asyncio.sleep(3600))


async def test_work_ends_with_its_own_result_or_error_while_the_operator_goes_on(tmp_path: Path) -> None:
    async def fails() -> None:
        raise ValueError("of its own")

    running = await started(tmp_path, "import time; time.sleep(3600)")
    try:
        assert await running.during(asyncio.sleep(0, "result")) == "result"
        with pytest.raises(ValueError, match="of its own"):
            await running.during(fails())
    finally:
        await running.stop()
