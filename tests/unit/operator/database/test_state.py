"""The state of a database, read off its pods."""

from __future__ import annotations

from typing import Any

import pytest

from okitoki.database.state import database_state, pod_problem


def pod(name: str, role: str, status: str, *, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"role": role}, "annotations": {"status": status}, **metadata},
        "status": {"podIP": "198.19.0.1", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


STREAMING = '{"state":"running","replication_state":"streaming"}'
RUNNING = '{"state":"running"}'
SYNC = {"metadata": {"annotations": {"leader": "a", "sync_standby": "c,b"}}}


def test_a_primary_that_runs_and_standbys_that_stream_are_in_order() -> None:
    found = database_state([pod("b", "replica", STREAMING), pod("a", "primary", RUNNING)], SYNC)
    assert found.primary is not None
    assert found.primary.name == "a"
    assert found.in_order == 2
    assert found.voters == ("b", "c")


@pytest.mark.parametrize(
    "other",
    [
        pod("b", "replica", RUNNING),
        pod("b", "replica", STREAMING, ready=False),
        pod("b", "replica", STREAMING, deletionTimestamp="now"),
        pod("b", "replica", "not json"),
    ],
)
def test_what_is_not_in_order(other: dict[str, Any]) -> None:
    assert database_state([pod("a", "primary", RUNNING), other], None).in_order == 1


def test_a_primary_that_is_not_ready_is_none() -> None:
    assert database_state([pod("a", "primary", RUNNING, ready=False)], None).primary is None


def test_why_a_pod_does_not_run() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "no node has room"}
    assert pod_problem({"metadata": {}, "status": {"conditions": [unscheduled]}}) == "not scheduled: no node has room"
    waiting = {"name": "postgres", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    assert pod_problem({"metadata": {}, "status": {"containerStatuses": [waiting]}}) == "postgres: ImagePullBackOff"
    starting = {"name": "postgres", "state": {"waiting": {"reason": "ContainerCreating"}}}
    assert pod_problem({"metadata": {}, "status": {"containerStatuses": [starting]}}) == ""
