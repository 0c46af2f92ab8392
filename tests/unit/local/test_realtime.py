"""Who gets real time on the local cluster: who asked for it and was refused, and nobody else."""

from __future__ import annotations

import pytest

from okitoki_agents.edge.processes.become import PRECEDENCE
from okitoki_local import realtime


@pytest.mark.parametrize(
    ("arguments", "priority"),
    [
        (["keepalived", "--dont-fork"], 40),
        (["/usr/sbin/rtpengine", "--config-file=x"], 20),
        (["/usr/sbin/kamailio", "-DD"], 10),
        (["redis-server 198.18.1.2:16379", ""], 10),
        (["python3", "-m", "okitoki_agents.edge", "guard"], 30),
        (["python3", "-m", "okitoki_agents.edge", "run", "tunnel"], 20),
        (["wireguard-go", "--foreground", "okitoki-wg0"], 20),
        (["python3", "-m", "okitoki_agents.edge", "agent"], None),
        (["postgres: checkpointer"], None),
        ([], None),
    ],
)
def test_by_name(arguments: list[str], priority: int | None) -> None:
    assert realtime.priority(arguments) == priority


def test_priorities_are_those_that_are_asked_for() -> None:
    asked = {name.removesuffix("-1").removesuffix("-2"): value for name, value in PRECEDENCE.items()}
    given = {name.removesuffix("-server"): value for name, value in realtime.PRIORITIES.items()}
    assert given == asked
