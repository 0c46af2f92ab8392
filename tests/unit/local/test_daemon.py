"""The daemon recognises its own processes and mounts, and nobody else's."""

from pathlib import Path

from okitoki_local import daemon
from okitoki_local.environment import Environment

STATE = Path("/var/lib/okitoki/demo")
ENV = Environment("demo", True, STATE, Path("/cache"))


def test_configuration_keeps_everything_in_the_state_and_the_benchmarking_range() -> None:
    settings = daemon.configuration(ENV, None)
    assert settings["hosts"] == [f"unix://{STATE}/docker.sock"]
    assert settings["bip"].startswith("198.18.")
    assert settings["default-address-pools"] == [{"base": "198.18.0.0/16", "size": 24}]
    assert "default-runtime" not in settings


def test_the_runtime_wrapper_is_used_only_where_it_is_needed() -> None:
    settings = daemon.configuration(ENV, STATE / "runc-wrapper")
    assert settings["runtimes"][settings["default-runtime"]]["path"] == f"{STATE}/runc-wrapper"


def test_a_recycled_process_number_is_not_the_daemon() -> None:
    assert daemon.is_daemon_of(ENV, f"dockerd\0--config-file\0{STATE}/daemon.json\0")
    assert not daemon.is_daemon_of(ENV, "postgres\0-D\0/data\0")
    assert not daemon.is_daemon_of(ENV, "dockerd\0--config-file\0/var/lib/okitoki/other/daemon.json\0")


def test_only_parts_of_this_daemon_are_ended() -> None:
    shim = ["/usr/bin/containerd-shim-runc-v2", "-address", f"{STATE}/exec/containerd/containerd.sock"]
    assert daemon.belongs_to(STATE, shim)
    assert not daemon.belongs_to(STATE, ["/usr/bin/less", f"{STATE}/dockerd.log"])
    assert not daemon.belongs_to(STATE, ["containerd", "--config", f"{STATE}2/exec/containerd.toml"])


def test_mounts_are_undone_deepest_first_and_only_below_the_state() -> None:
    info = "\n".join(
        f"1 2 0:3 / {point} rw - overlay overlay rw"
        for point in ("/", f"{STATE}/docker/a", f"{STATE}/docker/a/b", "/var/lib/okitoki/demo2/x", str(STATE))
    )
    assert daemon.mounts_below(STATE, info) == [f"{STATE}/docker/a/b", f"{STATE}/docker/a"]


def test_the_cluster_counts_for_many_processes_in_both_versions_of_cgroups() -> None:
    group, file, value = daemon.cpu_group("okitoki-x", first_version=True)
    assert (str(group), file, value) == ("/sys/fs/cgroup/cpu/okitoki-x", "cpu.shares", 20 * 1024)
    group, file, value = daemon.cpu_group("okitoki-x", first_version=False)
    assert (str(group), file, value) == ("/sys/fs/cgroup/okitoki-x", "cpu.weight", 2000)
