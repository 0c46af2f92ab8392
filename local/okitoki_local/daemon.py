"""A Docker daemon of one's own, in a network namespace without an uplink.

Its addresses come out of the benchmarking range, so none of them exists anywhere else; its processes, files and mounts
are all recognisable as its own, so that they can be removed without touching anybody else's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from okitoki_local import realtime, runc_wrapper, system
from okitoki_local.environment import Environment
from okitoki_local.progress import step
from okitoki_local.system import run, wait_until

BRIDGE_ADDRESS = "198.18.0.1"
POOLS = [{"base": "198.18.0.0/16", "size": 24}]
CGROUPS = Path("/sys/fs/cgroup")
CPU_WEIGHT = 20
"""How many processes of the machine the whole cluster counts for when CPU is scarce; Docker's default is 1."""


def configuration(env: Environment, runtime: Path | None) -> dict[str, Any]:
    """The daemon's configuration; `runtime` where privileged containers need the wrapper."""
    settings: dict[str, Any] = {
        "hosts": [env.docker_host],
        "data-root": str(env.state / "docker"),
        "exec-root": str(env.state / "exec"),
        "pidfile": str(env.state / "docker.pid"),
        "bip": f"{BRIDGE_ADDRESS}/24",
        "default-address-pools": POOLS,
        # Nothing answers there, so a question about an outside name fails at once instead of after a time-out.
        "dns": [BRIDGE_ADDRESS],
        # One parent for all its containers: what is left of them after a crash can be found and ended.
        "cgroup-parent": f"/{env.docker_network}",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "oom-score-adjust": 0,
        "shutdown-timeout": 2,
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "2"},
    }
    if runtime is not None:
        settings["runtimes"] = {"okitoki": {"path": str(runtime)}}
        settings["default-runtime"] = "okitoki"
    return settings


def pid(env: Environment) -> int | None:
    """The running daemon's process, or None: a pid file alone proves nothing, its number may be somebody else's."""
    try:
        number = int((env.state / "docker.pid").read_text())
        command = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
    except (OSError, ValueError):
        return None
    return number if is_daemon_of(env, command) else None


def is_daemon_of(env: Environment, command: str) -> bool:
    """Whether a process with this command line (NUL-separated) is this cluster's dockerd."""
    arguments = command.split("\0")
    return arguments[0].endswith("dockerd") and str(env.state / "daemon.json") in arguments


def answers(env: Environment) -> bool:
    """Whether the daemon does its work."""
    if not (env.state / "docker.sock").exists():
        return False
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        return env.run(command, inside=False, check=False, timeout=20).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def answers_at_last(env: Environment, timeout: float = 60) -> bool:
    """Whether the daemon answers, given time: taking a slow one for a dead one would cost a healthy cluster."""
    try:
        wait_until("the daemon", lambda: answers(env), timeout=timeout, interval=1)
    except system.LocalClusterError:
        return False
    return True


def start(env: Environment) -> None:
    """Start the daemon in its namespace and wait until it answers."""
    with step("starting the private Docker daemon"):
        ensure_namespace(env)
        favour(env)
        if realtime.refused():
            realtime.start(env.docker_network)
        env.state.mkdir(parents=True, exist_ok=True)
        for stale in ("docker.pid", "docker.sock"):
            (env.state / stale).unlink(missing_ok=True)
        runtime = _install_runtime(env) if system.lacks_sys_resource() else None
        settings = env.state / "daemon.json"
        settings.write_text(json.dumps(configuration(env, runtime), indent=2))
        with (env.state / "dockerd.log").open("ab") as log:
            subprocess.Popen(
                env.inside(["dockerd", "--config-file", settings]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives the shell that started it
                cwd="/",
            )
        try:
            wait_until("the private Docker daemon", lambda: answers(env), timeout=90)
        except system.LocalClusterError as failure:
            tail = (env.state / "dockerd.log").read_text(errors="replace")[-2000:]
            raise system.LocalClusterError(f"{failure}; the end of its log:\n{tail}") from failure


def _install_runtime(env: Environment) -> Path:
    target = env.state / "runc-wrapper"
    target.write_text(f"#!{Path(sys.executable).resolve()} -I\n{Path(runc_wrapper.__file__).read_text()}")
    target.chmod(0o755)
    return target


def ensure_namespace(env: Environment) -> None:
    """Make the network namespace, with forwarding, and with nothing that leads out of it."""
    if env.netns is None:
        return
    if env.netns not in run(["ip", "netns", "list"]).stdout.split():
        # A file without a mount on it is what a reboot leaves.
        Path(f"/run/netns/{env.netns}").unlink(missing_ok=True)
        run(["ip", "netns", "add", env.netns])
    env.run(["ip", "link", "set", "lo", "up"])
    env.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])


def favour(env: Environment) -> None:
    """Let the cluster go before other work on a busy machine.

    All of it is one group to the scheduler, which would get no more than a single compiler beside it: heartbeats of
    100 ms then come late, and servers that are alive are taken for dead.
    """
    group, file, value = cpu_group(env.docker_network, first_version=(CGROUPS / "cpu" / "cpu.shares").exists())
    group.mkdir(exist_ok=True)
    if not (group / file).exists():
        return  # version 2 without the CPU controller handed down: nothing to be had here
    (group / file).write_text(str(value))


def cpu_group(name: str, *, first_version: bool) -> tuple[Path, str, int]:
    """The cluster's control group, the file that holds its weight, and the weight in that version's unit."""
    if first_version:
        return CGROUPS / "cpu" / name, "cpu.shares", CPU_WEIGHT * 1024
    return CGROUPS / name, "cpu.weight", CPU_WEIGHT * 100


def destroy(env: Environment) -> None:
    """End the daemon and everything that it started, and remove its namespace, mounts and files."""
    with step("removing the private Docker daemon and what it ran"):
        _stop_daemon(env)
        wait_until("the cluster's processes to end", lambda: not _kill_leftovers(env), timeout=60)
        for point in mounts_below(env.state, Path("/proc/self/mountinfo").read_text()):
            run(["umount", "--lazy", point], check=False)
        if env.netns is not None:
            run(["ip", "netns", "delete", env.netns], check=False)
            Path(f"/run/netns/{env.netns}").unlink(missing_ok=True)
        _remove_cgroups(env)
        shutil.rmtree(env.state, ignore_errors=True)
        if env.state.exists():
            # What a lazily unmounted overlay held on to a moment ago.
            time.sleep(1)
            shutil.rmtree(env.state)


def _stop_daemon(env: Environment) -> None:
    number = pid(env)
    if number is None:
        return
    os.kill(number, signal.SIGTERM)
    try:
        wait_until("the daemon to stop", lambda: pid(env) is None, timeout=20)
    except system.LocalClusterError:
        os.kill(number, signal.SIGKILL)


def _kill_leftovers(env: Environment) -> set[int]:
    """Kill what still runs, and return it: containers by their cgroup, shims and containerd by their arguments."""
    for state in CGROUPS.glob(f"freezer/{env.docker_network}/**/freezer.state"):
        state.write_text("THAWED")  # a paused container ignores even SIGKILL
    for state in CGROUPS.glob(f"{env.docker_network}/**/cgroup.freeze"):
        state.write_text("0")
    found = set(_contained(env)) | set(_processes_of(env.state))
    for number in found:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return found


def _contained(env: Environment) -> Iterator[int]:
    for hierarchy in (CGROUPS, CGROUPS / "pids", CGROUPS / "memory"):
        for listing in hierarchy.glob(f"{env.docker_network}/**/cgroup.procs"):
            yield from (int(line) for line in listing.read_text().split() if line != "0")


def _processes_of(state: Path) -> Iterator[int]:
    """Processes that have one of the state's folders among their arguments: dockerd, containerd, its shims."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if belongs_to(state, arguments):
            yield int(folder.name)


def belongs_to(state: Path, arguments: list[str]) -> bool:
    """Whether a process is a part of the daemon whose state this is; an editor on its log is not."""
    program = Path(arguments[0]).name
    if program not in {"dockerd", "containerd", "containerd-shim-runc-v2", "docker-proxy", "runc"}:
        return False
    return any(argument.startswith(f"{state}/") or f"={state}/" in argument for argument in arguments[1:])


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Mount points in a folder, the deepest first, out of the text of /proc/self/mountinfo."""
    points = [line.split()[4] for line in mountinfo.splitlines() if line]
    return sorted((point for point in points if point.startswith(f"{folder}/")), key=len, reverse=True)


def _remove_cgroups(env: Environment) -> None:
    for top in (CGROUPS / env.docker_network, *CGROUPS.glob(f"*/{env.docker_network}")):
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                continue
