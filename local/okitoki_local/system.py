"""The few operating system services everything else here needs: running programs, locks, capabilities."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from okitoki_local.progress import say

CAP_SYS_RESOURCE = 24


class LocalClusterError(Exception):
    """Something the user should read as one sentence, not as a traceback."""


class CommandFailed(LocalClusterError):
    """A program ended with an error; carries what it printed, which is nearly always the explanation."""

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        super().__init__(f"`{' '.join(command)}` ended with code {code}:\n{output.strip()[-4000:]}")
        self.code = code
        self.output = output


def run(
    command: Sequence[str | Path],
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    capture: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. `env` is added to the process's own environment."""
    arguments = [str(argument) for argument in command]
    pipe = subprocess.PIPE if capture else None
    done = subprocess.run(
        arguments,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=pipe,
        stderr=pipe,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode != 0:
        raise CommandFailed(arguments, done.returncode, (done.stdout or "") + (done.stderr or ""))
    return done


def wait_until(what: str, ready: Callable[[], bool], timeout: float, interval: float = 0.25) -> None:
    """Wait for a state, not for a time; say which state never came."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise LocalClusterError(f"gave up after {timeout:.0f} s waiting for {what}")
        time.sleep(interval)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock that the kernel releases even when this process is killed.

    Its holder may remove the file: whoever waited for it then has the lock of a file that is gone, and takes a new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+") as file:
            _take(file, what)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield
                return


def _take(file: TextIO, what: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        say(f"waiting for process {file.read().strip() or '?'}, which is busy with {what}")
        fcntl.flock(file, fcntl.LOCK_EX)
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()


def is_root() -> bool:
    """Namespaces, mounts and a daemon of one's own need root."""
    return os.geteuid() == 0


def bounding_capabilities(status: str) -> int:
    """The capability bounding set out of the text of /proc/PID/status."""
    for line in status.splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    return 0


def lacks_sys_resource() -> bool:
    """Whether this machine withholds CAP_SYS_RESOURCE, which Docker hands to privileged containers."""
    return not bounding_capabilities(Path("/proc/self/status").read_text()) & (1 << CAP_SYS_RESOURCE)
