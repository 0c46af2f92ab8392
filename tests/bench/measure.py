"""What a process has used, as the kernel and its metrics page tell. Pure but for reading /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def cpu_seconds(stat: str) -> float:
    """User and system time in the text of /proc/PID/stat (proc(5): fields 14 and 15)."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(status: str, field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (peak) in the text of /proc/PID/status, in MiB. Raises KeyError."""
    for line in status.splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) / 1024
    raise KeyError(field)


class ProcessUse:
    """One process, or several taken together."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(pids)

    def cpu(self) -> float:
        """CPU seconds since the start."""
        return sum(cpu_seconds((PROC / str(pid) / "stat").read_text()) for pid in self._pids)

    def memory(self, field: str) -> float:
        """MiB; see `memory_mib`."""
        return sum(memory_mib((PROC / str(pid) / "status").read_text(), field) for pid in self._pids)


def children(names: Iterable[str]) -> list[int]:
    """Pids of this process's children by the name of their program."""
    wanted, found = {name[:15] for name in names}, []
    for folder in PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            head, _, rest = (folder / "stat").read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if head.partition("(")[2] in wanted and int(rest.split()[1]) == os.getpid():
            found.append(int(folder.name))
    return found


def reconciles(page: str) -> tuple[float, float]:
    """Of the Tenants' controller: reconciles that ended, and keys that wait. Both operators use controller-runtime's
    names."""
    ended = waiting = 0.0
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "controller_runtime_reconcile_total" and sample.labels["controller"] == "tenant":
                ended += sample.value
            elif sample.name == "workqueue_depth" and sample.labels["name"] == "tenant":
                waiting += sample.value
    return ended, waiting


def leads(page: str) -> bool:
    """Whether the process holds its lease."""
    return any(
        sample.name == "leader_election_master_status" and sample.value == 1.0
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    )
