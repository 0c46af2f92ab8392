from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from okitoki_chaos.cluster import ChaosError, Pod, pods, require_local
from okitoki_chaos.driver import KindDriver
from okitoki_chaos.faults.pods import Killed, kill_server, replaced, wait_replaced
from okitoki_chaos.scripts import KILL as KILL_SCRIPT
from okitoki_chaos.timeline import Timeline

SELECTOR = "app.kubernetes.io/name=app"


def pod_object(name: str, uid: str, *, ready: bool = True, deleting: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "tenant-acme", "name": name, "uid": uid}
    if deleting:
        metadata["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    return {
        "metadata": metadata,
        "spec": {"nodeName": "okitoki-worker"},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"containerID": f"containerd://c-{uid}", "state": {"running": {}}},
                {"containerID": "containerd://ended", "state": {"terminated": {}}},
            ],
        },
    }


class FakeCluster:
    """A cluster of one node; `process`: whether pods have any."""

    def __init__(self, objects: list[dict[str, Any]], process: bool = True, context: str = "kind-okitoki") -> None:
        self.context = context
        self.objects = objects
        self.process = process
        self.provider = "kind://docker/okitoki/okitoki-worker"
        self.deleted: list[str] = []
        self.after_delete: Callable[[], None] = lambda: None
        self.killed: list[str] = []

    def kubectl(self, *arguments: str) -> str:
        if arguments[:2] == ("get", "nodes"):
            return json.dumps({"items": [{"metadata": {"name": "n"}, "spec": {"providerID": self.provider}}]})
        if arguments[:2] == ("get", "pods"):
            return json.dumps({"items": self.objects})
        if arguments[:2] == ("get", "pod"):
            return ""
        assert arguments[:2] == ("delete", "pod")
        self.deleted.append(arguments[4])
        assert {"--force", "--grace-period=0"} <= set(arguments)
        self.after_delete()
        return ""

    def on_node(self, node: str, *command: str) -> str:
        assert node == "okitoki-worker"
        if command[3] == "list":
            listed = {"1": [(10, 1), (11, 2)], "c-1": [(11, 2), (12, 9)]}[command[5]]  # pod; container
            return "".join(f"{pid} {start} 0 x\n" for pid, start in listed) if self.process else ""
        self.killed = list(command[4:])
        return "100.5\n100.7\n"

    def docker(self, *arguments: str) -> str:
        raise AssertionError("no machine is touched")

    def apply(self, verb: str, manifest: Any) -> str:
        raise AssertionError("nothing is made")


def test_only_the_named_kind_cluster_is_accepted() -> None:
    cluster = FakeCluster([])
    require_local(cluster, "okitoki")
    with pytest.raises(ChaosError, match="kube context is 'kind-okitoki'"):
        require_local(cluster, "other")
    with pytest.raises(ChaosError, match="'production'"):
        require_local(FakeCluster([], context="production"), "okitoki")
    cluster.provider = "aws:///eu-central-1/i-1"
    with pytest.raises(ChaosError, match="aws"):
        require_local(cluster, "okitoki")


def test_a_pod_is_killed_then_deleted_and_the_timeline_says_so(tmp_path: Path) -> None:
    cluster = FakeCluster([pod_object("app-a", "1"), pod_object("app-b", "2")])
    timeline = Timeline(tmp_path / "t.jsonl")
    killed = kill_server(
        KindDriver(cluster), pods(cluster, "tenant-acme", SELECTOR)[0], timeline, selector=SELECTOR, others_ready=1
    )
    assert (killed.at, killed.gone_at, killed.pids) == (100.5, 100.7, (10, 11))
    assert cluster.killed == ["10", "11"]  # neither what was executed into the container later, nor anything twice
    assert cluster.deleted == ["app-a"]
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["killing", "killed"]


def test_the_last_ready_one_is_not_killed(tmp_path: Path) -> None:
    cluster = FakeCluster([pod_object("app-a", "1"), pod_object("app-b", "2", ready=False)])
    with pytest.raises(ChaosError, match="0 others are ready, 1 are needed"):
        kill_server(
            KindDriver(cluster), pods(cluster, "tenant-acme", SELECTOR)[0], Timeline(tmp_path / "t"), selector=SELECTOR,
            others_ready=1,
        )  # fmt: skip
    assert cluster.killed == []
    assert cluster.deleted == []


def test_a_pod_without_a_process_is_no_target(tmp_path: Path) -> None:
    cluster = FakeCluster([pod_object("app-a", "1"), pod_object("app-b", "2")], process=False)
    with pytest.raises(ChaosError, match="nothing to kill"):
        kill_server(
            KindDriver(cluster), pods(cluster, "tenant-acme", SELECTOR)[0], Timeline(tmp_path / "t"), selector=SELECTOR,
            others_ready=1,
        )  # fmt: skip


KILLED = Killed(Pod("tenant-acme", "app-a", "1", "n", ready=True, deleting=False), (1,), 0.0, 0.0)


@pytest.mark.parametrize(
    ("objects", "whole"),
    [
        ([pod_object("app-b", "2"), pod_object("app-c", "3")], True),
        ([pod_object("app-b", "2")], False),
        ([pod_object("app-b", "2"), pod_object("app-c", "3", ready=False)], False),
        ([pod_object("app-b", "2"), pod_object("app-a", "1")], False),
        ([pod_object("app-b", "2"), pod_object("app-c", "3"), pod_object("app-d", "4", deleting=True)], False),
    ],
)
def test_a_server_is_back_only_when_all_are_ready_and_it_is_another(objects: list[Any], whole: bool) -> None:
    assert replaced([Pod.of(one) for one in objects], KILLED, 2) is whole


def test_waiting_ends_with_the_state_and_reports_the_way_there(tmp_path: Path) -> None:
    cluster = FakeCluster([pod_object("app-b", "2"), pod_object("app-a", "1")])
    seen: list[str] = []

    def progress(state: str) -> None:
        seen.append(state)
        cluster.objects = [pod_object("app-b", "2"), pod_object("app-a", "3")]

    wait_replaced(
        cluster, KILLED, Timeline(tmp_path / "t"), selector=SELECTOR, count=2, limit=5, progress=progress, interval=0.01
    )
    assert seen == ["app-a still the killed one, app-b ready", "app-a ready, app-b ready"]


def test_a_server_that_does_not_come_back_is_an_error_with_its_state(tmp_path: Path) -> None:
    cluster = FakeCluster([pod_object("app-b", "2")])
    with pytest.raises(ChaosError, match="not replaced within 0 s: app-b ready"):
        wait_replaced(cluster, KILLED, Timeline(tmp_path / "t"), selector=SELECTOR, count=2, limit=0.05, interval=0.01)


def test_the_script_kills_for_real_and_waits_until_it_is_gone() -> None:
    victim = subprocess.Popen(["sleep", "60"])
    done = subprocess.run(
        ["bash", "-c", KILL_SCRIPT, "kill", str(victim.pid)], capture_output=True, text=True, check=True
    )
    begun, gone = map(float, done.stdout.split())
    assert 0 <= gone - begun < 5
    assert victim.wait() == -9
