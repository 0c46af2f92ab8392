"""What one tenant's servers must not reach of another's, tried from inside."""

from __future__ import annotations

import pytest

from cluster.conftest import Installed
from okitoki_local.environment import Environment

# Prints the outcome of a TCP connection attempt: open, refused, or silence.
PROBE = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("open")
except TimeoutError:
    print("silence")
except ConnectionRefusedError:
    print("refused")
"""


def reach(env: Environment, namespace: str, host: str, port: int) -> str:
    """What an app pod of `namespace` sees of an address."""
    return env.kubectl("exec", "-n", namespace, "deploy/app", "--", "python3", "-c", PROBE, host, str(port)).strip()


def address_of(env: Environment, namespace: str, pod: str) -> str:
    return env.kubectl("get", "pod", "-n", namespace, pod, "-o", "jsonpath={.status.podIP}").strip()


@pytest.mark.parametrize("port", [5432, 8008], ids=["postgresql", "patroni"])
def test_a_neighbour_cannot_reach_a_database(env: Environment, installed: Installed, port: int) -> None:
    mine, neighbour = installed.tenants[0].namespace, installed.tenants[1].namespace
    address = address_of(env, mine, "postgres-0")
    assert reach(env, neighbour, address, port) != "open"
    # The same probe works where it is allowed: it could have failed for another reason.
    if port == 5432:
        assert reach(env, mine, address, port) == "open"


def test_a_neighbour_cannot_reach_an_app(env: Environment, installed: Installed) -> None:
    mine, neighbour = installed.tenants[0].namespace, installed.tenants[1].namespace
    pod = env.kubectl(
        "get", "pods", "-n", mine, "-l", "app.kubernetes.io/name=app", "-o", "jsonpath={.items[0].status.podIP}"
    ).strip()
    assert reach(env, neighbour, pod, 8443) != "open"
