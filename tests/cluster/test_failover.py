"""Servers are killed under real calls and writes; each test shows one thing that was promised.

One run of traffic with three faults serves all of them: a database primary, an app server, and the edge pod that holds
the SIP address are killed (SIGKILL of everything in the pod) one after another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.conftest import MANIFESTS, Installed
from okitoki_local.demo import run
from okitoki_local.environment import Environment

Report = dict[str, Any]


@pytest.fixture(scope="module")
def report(env: Environment, installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder: Path = tmp_path_factory.mktemp("failover")
    return run.drill(env, run.Options(manifests=MANIFESTS, reports=folder))


def fault(report: Report, name: str) -> Report:
    """The one fault of that name; it bit, and the platform was whole again afterwards."""
    found: list[Report] = [one for one in report["faults"] if name in one["fault"]]
    assert len(found) == 1, [one["fault"] for one in report["faults"]]
    assert found[0]["wholeAfterSeconds"] is not None, found[0]["error"]
    return found[0]


def test_primary_killed_under_writes_loses_nothing(report: Report) -> None:
    fault(report, "database primary")
    for tenant, writes in report["writes"].items():
        assert writes["state"] == "valid", (tenant, writes)
        assert writes["acknowledged"] > 300, (tenant, writes)


def test_app_server_killed_under_writes_fails_no_operation(report: Report) -> None:
    fault(report, "app server")
    assert {tenant: writes["failed"] for tenant, writes in report["writes"].items() if writes["failed"]} == {}


def test_edge_pod_killed_keeps_established_calls(report: Report) -> None:
    fault(report, "voice edge")
    calls = report["calls"]
    assert calls["dropped"] == 0, calls["problems"]
    assert calls["spanningAllFaults"] >= 1, calls


def test_audio_is_two_way_and_intact_on_every_call(report: Report) -> None:
    assert [one for one in report["failures"] if "audio" in one] == []
    for way in report["calls"]["audio"].values():
        assert way["packetsReceived"] > 1000, way
        assert (way["corrupted"], way["foreign"]) == (0, 0), way


def test_every_answered_call_leaves_one_record(report: Report) -> None:
    records = report["callRecords"]
    assert records["expected"] >= 5, records
    assert records["expected"] == records["found"], records


def test_the_whole_verdict_is_passed(report: Report) -> None:
    assert report["failures"] == []
