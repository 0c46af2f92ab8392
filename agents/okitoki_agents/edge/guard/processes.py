"""Watches the pod's processes: which pid a container has now, and the moment it dies (pidfd_open(2))."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from okitoki_agents import procfs

log = logging.getLogger(__name__)

_TICKS = os.sysconf("SC_CLK_TCK")
_STOPPED = "TtZX"


class Watch:
    """The process that a pid file names.

    `poll` follows the file; `on_start` and `on_death` are called from the event loop. The file stays when its process
    dies, and pids are used again: a process younger than the file is not the one that wrote it.
    """

    def __init__(self, file: Path, on_start: Callable[[], None], on_death: Callable[[], None]) -> None:
        self._file, self._on_start, self._on_death = file, on_start, on_death
        self._seen: int | None = None
        self._pidfd: int | None = None
        self.pid: int | None = None

    def poll(self) -> None:
        try:
            written = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if written == self._seen:
            return
        self._seen = written
        self._drop()
        try:
            pid = int(self._file.read_text())
            pidfd = os.pidfd_open(pid)
        except (OSError, ValueError):
            return
        if _started_at_ns(pid) > written:
            os.close(pidfd)
            return
        self.pid, self._pidfd = pid, pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._died)
        self._on_start()

    def _died(self) -> None:
        self._drop()
        self._on_death()

    def _drop(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._pidfd = self.pid = None

    def runs(self) -> bool:
        """False when the process is gone or stopped (SIGSTOP, a tracer)."""
        fields = None if self.pid is None else procfs.stat(self.pid)
        return fields is not None and fields[0] not in _STOPPED

    def send(self, number: signal.Signals) -> None:
        """Nothing is sent to a process that has ended; its end is told by `on_death`, perhaps a moment later."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """End the process and its children: a worker that is frozen does not notice that its parent is gone."""
        if self.pid is None:
            return
        children = list(procfs.children(self.pid))
        self.send(signal.SIGKILL)
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _started_at_ns(pid: int) -> int:
    """When a process began, in nanoseconds since the epoch, to a clock tick."""
    fields = procfs.stat(pid)
    if fields is None:
        return 0
    boot_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return boot_ns + int(fields[19]) * 1_000_000_000 // _TICKS - 1_000_000_000 // _TICKS
