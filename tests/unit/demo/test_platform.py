from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from okitoki_chaos.cluster import Pod
from okitoki_chaos.whole import EDGE_STATUS, database_faults, edge_faults
from okitoki_local.demo.layout import load_manifests, tenants_of
from okitoki_local.demo.platform import KindCluster, image_references, targets
from okitoki_local.environment import Environment
from okitoki_local.system import LocalClusterError


def edge(name: str, holds: list[str], *, protected: Any = True, ready: bool = True) -> Pod:
    status = json.dumps({"holds": holds, "protected": protected})
    return Pod("r", name, name, "node", ready=ready, deleting=False, annotations={EDGE_STATUS: status})


def member(name: str, *, ready: bool = True) -> Pod:
    return Pod("t", name, name, "node", ready=ready, deleting=False)


def test_a_whole_edge_holds_each_address_once_and_protects_its_calls() -> None:
    assert edge_faults([edge("edge-0", ["sip", "https", "media-1"]), edge("edge-1", ["media-2"])]) == []


@pytest.mark.parametrize(
    ("pods", "fault"),
    [
        ([edge("edge-0", ["sip", "https", "media-1", "media-2"])], "1 of 2 edge pods are ready"),
        (
            [edge("edge-0", ["sip", "https", "media-1", "media-2"]), edge("edge-1", [], ready=False)],
            "1 of 2 edge pods are ready",
        ),
        ([edge("edge-0", ["sip", "https", "media-1"]), edge("edge-1", [])], "address media-2 is held by nobody"),
        (
            [edge("edge-0", ["sip", "https", "media-1"]), edge("edge-1", ["sip", "media-2"])],
            "address sip is held by edge-0, edge-1",
        ),
        (
            [edge("edge-0", ["sip", "https", "media-1"]), edge("edge-1", ["media-2"], protected=False)],
            "edge-1 does not say that its calls are protected",
        ),
        (
            [edge("edge-0", ["sip", "https", "media-1"]), edge("edge-1", ["media-2"], protected="true")],
            "edge-1 does not say that its calls are protected",
        ),
    ],
)
def test_what_an_edge_lacks_is_said(pods: list[Pod], fault: str) -> None:
    assert fault in edge_faults(pods)


def test_an_edge_that_says_nothing_is_not_whole() -> None:
    silent = Pod("r", "edge-1", "u", "n", ready=True, deleting=False, annotations={EDGE_STATUS: "not JSON"})
    assert edge_faults([edge("edge-0", ["sip", "https", "media-1", "media-2"]), silent])


def test_a_database_is_whole_with_all_members_and_one_of_them_leading() -> None:
    three = [member("postgres-0"), member("postgres-1"), member("postgres-2")]
    assert database_faults(three, "postgres-1", 3) == []
    assert database_faults(three[:2], "postgres-1", 3) == ["2 of 3 database members are ready"]
    assert database_faults(three, "", 3) == ["the leader nobody is not a ready member"]
    assert "the leader postgres-0 is not a ready member" in database_faults(
        [member("postgres-0", ready=False), *three[1:]], "postgres-0", 3
    )


def test_what_is_killed_comes_from_the_resources() -> None:
    objects = load_manifests()
    found = targets(objects, tenants_of(objects))
    assert [(target.namespace, target.count, target.others) for target in found] == [
        ("tenant-acme", 3, 2),
        ("tenant-globex", 2, 1),
        ("okitoki-region-kyiv", 2, 1),
    ]


def test_missing_images_are_named_with_the_mend(tmp_path: Path) -> None:
    env = cast(Environment, SimpleNamespace(state=tmp_path))
    with pytest.raises(LocalClusterError, match="make images"):
        image_references(env)
    (tmp_path / "images.json").write_text(json.dumps({"operator": "o", "app": "a", "postgres": "p", "edge": "e"}))
    with pytest.raises(LocalClusterError, match="no image phones"):
        image_references(env)


class Flaky:
    """kubectl that fails a number of times."""

    context = "kind-okitoki"

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def kubectl(self, *arguments: str, timeout: float = 0) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise subprocess.TimeoutExpired("kubectl", 1)
        return "{}"


def test_reading_outlives_a_slow_moment_of_the_api_server_and_writing_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("okitoki_local.demo.platform.time.sleep", lambda seconds: None)
    flaky = Flaky(3)
    assert KindCluster(cast(Environment, flaky)).kubectl("get", "pods") == "{}"
    with pytest.raises(LocalClusterError, match="no answer to kubectl get pods"):
        KindCluster(cast(Environment, Flaky(99))).kubectl("get", "pods")
    flaky = Flaky(1)
    with pytest.raises(LocalClusterError):
        KindCluster(cast(Environment, flaky)).kubectl("delete", "pod", "x")
    assert flaky.calls == 1
