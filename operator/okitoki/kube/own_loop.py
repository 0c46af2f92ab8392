"""An event loop in a thread of its own, for what must not wait behind the work: the renewal of the lease.

A renewal takes a few turns of its event loop. On a busy machine one turn of the loop in which hundreds of reconciles'
calls are answered takes long enough for a renewal to miss its deadline, and an operator that does its work gives up.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class OwnLoop:
    """An async context manager; what is used inside of it (a `Client`) must be made and closed by `run` too."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon: whatever becomes of the process, this thread does not keep it alive, and with it the lease.
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    async def __aenter__(self) -> OwnLoop:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which runs there; what it raises is raised here, and to cancel this cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
