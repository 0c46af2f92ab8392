"""Where a cluster is said to be, and how its variables reach a shell."""

import shlex
from pathlib import Path

import pytest

from okitoki_local import environment
from okitoki_local.environment import Environment, cache_folder
from okitoki_local.system import LocalClusterError, bounding_capabilities

PRIVATE = Environment("demo", True, Path("/var/lib/okitoki/demo"), Path("/cache"))
LAPTOP = Environment("demo", False, Path("/home/x/state/demo"), Path("/cache"))


def test_the_cache_is_where_the_user_says() -> None:
    assert cache_folder({"OKITOKI_CACHE": "/c"}) == Path("/c")
    assert cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/okitoki")


def test_a_command_runs_in_the_namespace_only_where_there_is_one() -> None:
    assert PRIVATE.inside(["kubectl", "version"])[:2] == ["nsenter", "--net=/run/netns/okitoki-demo"]
    assert LAPTOP.inside(["kubectl", "version"]) == ["kubectl", "version"]


def test_exports_survive_a_shell() -> None:
    odd = Environment("demo", True, Path("/a folder/demo"), Path("/cache"))
    line = next(line for line in odd.exports().splitlines() if line.startswith("export KUBECONFIG="))
    assert shlex.split(line) == ["export", "KUBECONFIG=/a folder/demo/kubeconfig"]


def test_a_laptop_keeps_its_own_docker() -> None:
    assert "DOCKER_HOST" not in LAPTOP.variables()


@pytest.mark.parametrize("name", ["", "Upper", "-dash", "way-too-long-for-a-cluster-name", "a/b"])
def test_names_that_would_break_paths_or_interfaces_are_refused(name: str) -> None:
    if name == "":
        assert Environment.detect(environ={"OKITOKI_CLUSTER": name}).name == environment.DEFAULT_NAME
        return
    with pytest.raises(LocalClusterError, match="OKITOKI_CLUSTER"):
        Environment.detect(name, environ={})


def test_our_own_daemon_is_not_taken_for_the_users() -> None:
    host = f"unix://{environment.PRIVATE_ROOT}/other/docker.sock"
    assert environment.user_daemon_answers({"DOCKER_HOST": host}) is False


def test_capabilities_are_read_from_the_bounding_set() -> None:
    assert bounding_capabilities("Name:\tx\nCapBnd:\t000001fffeffffff\n") & (1 << 24) == 0
    assert bounding_capabilities("CapBnd:\t000001ffffffffff\n") & (1 << 24) != 0
