from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from okitoki_chaos.load import count_ok, last_ok
from okitoki_local.demo import traffic
from okitoki_local.demo.containers import Containers
from okitoki_local.demo.layout import load_manifests, tenants_of
from okitoki_local.demo.traffic import Traffic, registration_failures
from okitoki_local.system import LocalClusterError


class Idle(Containers):
    """Containers that run, and nothing else."""

    def __init__(self) -> None:
        pass

    def require_running(self, *names: str) -> None:
        return


def lines(path: Path, values: list[dict[str, Any]], rest: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values) + rest)


def outcome(outcome: str, finished: float) -> dict[str, Any]:
    return {"type": "outcome", "outcome": outcome, "finished": finished}


def made(tmp_path: Path, now: float) -> Traffic:
    tenants = tenants_of(load_manifests())
    for tenant, age in zip(tenants, (0.5, 30.0), strict=True):
        ledger = tmp_path / f"writer-{tenant.name}" / "ledger.jsonl"
        lines(ledger, [outcome("ok", now - 60), outcome("ok", now - age), outcome("fail", now)], '{"type":"outc')
    return Traffic(Idle(), tmp_path, tenants)


def test_a_ledger_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    lines(path, [outcome("ok", 5.0), outcome("unknown", 6.0), outcome("ok", 7.0)], '{"type":"outcome","outcome":"ok"')
    assert count_ok(tmp_path / "none") == 0
    # The first line may be cut by the tail, so it does not count.
    assert last_ok(path) == 7.0
    lines(path, [outcome("fail", 5.0)] * 3)
    assert last_ok(path) == 0.0


def test_a_tenant_that_is_not_served_is_named_although_its_servers_are_ready(tmp_path: Path) -> None:
    assert made(tmp_path, time.time()).stalled() == ["no write of globex was acknowledged for 30 s"]


def test_a_call_that_fails_before_any_fault_ends_the_wait_with_its_code(tmp_path: Path) -> None:
    running = made(tmp_path, time.time())
    lines(tmp_path / "carrier/events.jsonl", [{"kind": "long", "event": "failed", "code": 480, "tenant": "acme"}])
    with pytest.raises(LocalClusterError, match="code 480"):
        running.wait_long_calls(limit=1)


def test_waiting_for_flow_says_what_does_not_flow(tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match=r"by tenant: \{'acme': 2, 'globex': 2\} writes"):
        made(tmp_path, time.time()).wait_flow("in a test", writes=1, calls=0, limit=0.1)


def test_agents_that_are_not_registered_are_named_with_the_last_reason(tmp_path: Path) -> None:
    events = [
        {"agent": "1001@a", "registered": False, "why": "401 Unauthorized"},
        {"agent": "1002@a", "registered": False, "why": "no answer"},
        {"agent": "1002@a", "registered": True, "why": "200 OK"},
    ]
    assert registration_failures(tmp_path) == "no agent got any answer"
    lines(tmp_path / "registrations.jsonl", events)
    assert registration_failures(tmp_path) == "1001@a: 401 Unauthorized"


def test_ending_goes_on_after_a_container_that_did_not_end_well(tmp_path: Path) -> None:
    class Stubborn(Idle):
        def __init__(self) -> None:
            self.stopped: list[str] = []

        def stop(self, name: str) -> float:
            self.stopped.append(name)
            if name == "carrier":
                raise LocalClusterError("the container carrier ended with code 137")
            return 0.0

    stubborn = Stubborn()
    assert Traffic(stubborn, tmp_path, tenants_of(load_manifests())).end() == [
        "the container carrier ended with code 137"
    ]
    assert stubborn.stopped == ["carrier", "agents", "writer-acme", "writer-globex"]


def test_the_load_is_what_two_cores_carry() -> None:
    assert traffic.WRITES_PER_SECOND <= 20
    assert 2 * (traffic.LONG_CALLS + traffic.SHORT_TALK_SECONDS[1] / traffic.SHORT_EVERY_SECONDS) <= 12
