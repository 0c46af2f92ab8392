"""What /proc tells of a pod's processes (proc(5)). Its containers share one process namespace."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process: its number, its state's letter (T: stopped) and the signals that wait for it."""

    pid: int
    state: str
    pending: int

    def waits(self, number: signal.Signals) -> bool:
        """Whether this signal has been sent and not been delivered."""
        return bool(self.pending >> (number - 1) & 1)


def process(pid: int, proc: Path = PROC) -> Process | None:
    """One process, or None when it is gone or a zombie."""
    try:
        text = (proc / str(pid) / "status").read_text()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    state = fields["State"].split()[0]
    if state in "ZX":
        return None
    pending = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
    return Process(pid, state, pending)


def named(file: Path) -> int | None:
    """The process that a pid file names in its first line, alive or not; None without one."""
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def stat(pid: int, proc: Path = PROC) -> list[str] | None:
    """A process' fields in proc_pid_stat(5) from the third, its state's letter, on; None when it is gone."""
    try:
        text = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The second field is the command in parentheses and may hold anything, so what counts comes after the last.
    return text.rpartition(b")")[2].decode().split() or None


def title(pid: int, proc: Path = PROC) -> str:
    """A process' command line, which PostgreSQL's processes write what they do in; empty when it is gone."""
    try:
        return (proc / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def io(pid: int, proc: Path = PROC) -> dict[str, int] | None:
    """What a process has read and written so far (bytes), by the kernel's names; None when it can't be told."""
    try:
        text = (proc / str(pid) / "io").read_text()
    except OSError:
        return None
    return {name: int(value) for name, _, value in (line.partition(":") for line in text.splitlines()) if value}


def age(pid: int, proc: Path = PROC) -> tuple[int, float] | None:
    """When a process began (clock ticks since the machine's start, never the same for a number used again) and how old
    it is (s); None when it is gone."""
    fields = stat(pid, proc)
    if fields is None:
        return None
    began, up = int(fields[19]), float((proc / "uptime").read_text().split()[0])
    return began, up - began / os.sysconf("SC_CLK_TCK")


def children(parent: int, proc: Path = PROC) -> Iterator[int]:
    """A process' children."""
    return titled("", parent, proc)


def titled(words: str, parent: int | None = None, proc: Path = PROC) -> Iterator[int]:
    """Processes whose title (command line) contains these words: all of them, or only those of one parent."""
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        pid = int(folder.name)
        fields = stat(pid, proc)
        if fields is not None and parent in (None, int(fields[1])) and words in title(pid, proc):
            yield pid
