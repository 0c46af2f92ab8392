"""Real time for the cluster's voice servers, where the kernel keeps it from containers.

They ask for it (`okitoki_agents.edge.processes.become`): an advert, a probe or a packet of audio that waits for the
processor looks like a dead node. A kernel with CONFIG_RT_GROUP_SCHED and control groups of version 1 refuses, because
each group needs a budget of its own, and neither Docker nor kubelet gives one (sched-rt-group.rst). Usual nodes have no
such budgets. So that the local cluster behaves like them, whoever was refused, which shows in its nice value, is moved
to a group that has a budget, and gets what it asked for.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HIERARCHY = Path("/sys/fs/cgroup/cpu")
BUDGET = 900_000
"""Of the 950,000 µs in a second that the kernel gives to real time."""
REFUSED_NICE = -19
PRIORITIES = {"keepalived": 40, "guard": 30, "tunnel": 20, "rtpengine": 20, "kamailio": 10, "redis-server": 10}
"""As in `okitoki_agents.edge.processes.become.PRECEDENCE`."""
EVERY = 0.5


def refused() -> bool:
    """Whether this kernel refuses real time to containers."""
    return (HIERARCHY / "cpu.rt_runtime_us").exists()


def start(name: str) -> None:
    """Watch over the cluster with this control group until the group is gone."""
    group = HIERARCHY / name
    for folder in (group, group / "realtime"):
        folder.mkdir(exist_ok=True)
        (folder / "cpu.rt_runtime_us").write_text(str(BUDGET))
    subprocess.Popen(
        [sys.executable, "-I", __file__, name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # it outlives the shell that started it
        cwd="/",
    )


def priority(arguments: Sequence[str]) -> int | None:
    """What a process with this command line asked for; None: nothing."""
    for own in ("guard", "tunnel"):
        if own in arguments:
            return PRIORITIES[own]
    program = arguments[0].split(" ")[0] if arguments else ""  # some write all of their title into the first one
    return PRIORITIES.get({"wireguard-go": "tunnel"}.get(Path(program).name, Path(program).name))


def look(name: str) -> None:
    """Give each process of the cluster what it was refused."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        number = int(entry.name)
        with contextlib.suppress(OSError):  # it has ended meanwhile
            nice, policy = os.getpriority(os.PRIO_PROCESS, number), os.sched_getscheduler(number)
            if nice == REFUSED_NICE and policy == os.SCHED_OTHER and f"/{name}/" in Path(entry, "cgroup").read_text():
                wanted = priority(Path(entry, "cmdline").read_bytes().decode(errors="replace").split("\0"))
                if wanted is not None:
                    _grant(number, HIERARCHY / name / "realtime" / "tasks", wanted)


def _grant(number: int, tasks: Path, wanted: int) -> None:
    for thread in Path(f"/proc/{number}/task").iterdir():
        with contextlib.suppress(OSError):
            tasks.write_text(thread.name)
            os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(wanted))


def watch(name: str) -> None:
    while (HIERARCHY / name).exists():
        look(name)
        time.sleep(EVERY)


if __name__ == "__main__":
    watch(sys.argv[1])
