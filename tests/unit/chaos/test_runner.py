"""The runner with Chaos Toolkit's part played here: activities in the file's order, a failed one recorded."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from unit.chaos.fakes import REGION, TENANT, Platform

from okitoki_chaos import runner
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import KindDriver
from okitoki_chaos.plan import Item
from okitoki_chaos.runner import DONE, FAILED, NOT_POSSIBLE, NOT_WHOLE, REFUSED, Runner, conclude
from okitoki_chaos.session import Session, Settings

SETTINGS = Settings(run="drill-1", seed=1, tenants=["acme"], regions=["kyiv"])
PAUSED = Item(0, "primary-node-paused", 1, "acme", 0.0, 1, {"hold": 0, "whole_within": 0})
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def play(document: Mapping[str, Any]) -> dict[str, Any]:
    """What chaoslib does with a file, as far as it matters here."""

    def call(activity: Mapping[str, Any]) -> dict[str, Any]:
        provider = activity["provider"]
        values = document["configuration"]
        arguments = {
            key: values[value[2:-1]] if isinstance(value, str) and value.startswith("${") else value
            for key, value in provider.get("arguments", {}).items()
        }
        run: dict[str, Any] = {"activity": {"name": activity["name"]}, "status": "succeeded"}
        try:
            run["output"] = getattr(importlib.import_module(provider["module"]), provider["func"])(**arguments)
        except ChaosError as error:
            run |= {"status": "failed", "exception": [f"{type(error).__name__}: {error}"]}
        control = importlib.import_module("okitoki_chaos.ctk.controls")
        control.after_activity_control(activity, run)
        return run

    (probe,) = document["steady-state-hypothesis"]["probes"]
    before = call(probe)
    journal: dict[str, Any] = {"status": "completed", "run": [], "steady_states": {"before": {"probes": [before]}}}
    if before.get("output") == probe["tolerance"]:
        journal["run"] = [call(activity) for activity in document["method"]]
        journal["steady_states"]["after"] = {"probes": [call(probe)]}
    for activity in document["rollbacks"]:
        call(activity)
    return journal


class Quiet:
    """Observers that see nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    found = Platform()
    resources = json.dumps({"items": [{**TENANT, "status": READY}, {**REGION, "status": READY}]})
    found.answer("get voiceregions", resources)
    monkeypatch.setattr(runner, "Observers", Quiet)
    monkeypatch.setattr("okitoki_chaos.session.STEADY_SECONDS", 0.0)
    for module in ("session", "ctk.actions", "driver"):
        monkeypatch.setattr(f"okitoki_chaos.{module}.time.sleep", lambda seconds: None)
    return found


def run(platform: Platform, folder: Path, experiment: str, **values: Any) -> Mapping[str, Any]:
    session = Session(SETTINGS, folder, KindDriver(platform), say=lambda words: None)
    item = Item(0, experiment, 1, "acme", 0.0, 1, {"hold": 0, "whole_within": 0, **values})
    return Runner(session, folder, lambda words: None, play).one(item)


def test_a_fault_that_bit_and_was_undone_is_done(platform: Platform, tmp_path: Path) -> None:
    result = run(platform, tmp_path, "primary-node-paused")
    assert (result["outcome"], result["error"], result["healedBy"]) == (DONE, None, "runner")
    assert result["at"] <= result["bitAt"] <= result["healedAt"] <= result["wholeAt"]
    assert result["target"] == "node-of:primary (node-a)"
    assert platform.states["node-a"] == "running"
    assert "docker pause node-a" in platform.log


def test_a_fault_is_on_the_disk_before_anything_is_done(platform: Platform, tmp_path: Path) -> None:
    session = Session(SETTINGS, tmp_path, KindDriver(platform), say=lambda words: None)
    seen: list[int] = []
    platform.answer("docker pause", lambda: seen.append(len(session.journal.open())) or "!no")  # type: ignore[func-returns-value]
    result = Runner(session, tmp_path, lambda words: None, play).one(PAUSED)
    assert result["outcome"] == FAILED
    assert "no" in result["error"]
    assert seen == [1]
    assert session.journal.open() == []


def test_a_fault_is_undone_when_the_drill_itself_breaks(platform: Platform, tmp_path: Path) -> None:
    session = Session(SETTINGS, tmp_path, KindDriver(platform), say=lambda words: None)
    states = []

    def drill(document: Mapping[str, Any]) -> Mapping[str, Any]:
        session.inject([{"fault": "node-pause", "target": "node-of:primary"}], "acme", "kyiv", 0)
        states.append(platform.states["node-a"])
        raise RuntimeError("the drill itself broke")

    with pytest.raises(RuntimeError, match="the drill itself"):
        Runner(session, tmp_path, lambda words: None, drill).go([PAUSED])
    assert states == ["paused"]
    assert platform.states["node-a"] == "running"
    assert session.journal.open() == []


def test_a_fault_that_did_not_bite_fails_its_drill(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.answer("docker pause", "")  # says that it did and does nothing
    monkeypatch.setattr("okitoki_chaos.driver.POLL_INTERVAL", 0)
    clock = iter(range(0, 10**6, 40))
    monkeypatch.setattr("okitoki_chaos.driver.verify.__kwdefaults__", {"clock": lambda: float(next(clock))})
    result = run(platform, tmp_path, "primary-node-paused")
    assert result["outcome"] == FAILED
    assert "it was not seen that node-a is paused" in result["error"]


def test_without_consent_nothing_is_touched(platform: Platform, tmp_path: Path) -> None:
    platform.consent = False
    result = run(platform, tmp_path, "primary-node-paused")
    assert result["outcome"] == REFUSED
    assert not [line for line in platform.log if line.startswith("docker pause")]


def test_what_a_driver_cannot_do_is_an_outcome_of_its_own(platform: Platform, tmp_path: Path) -> None:
    result = run(platform, tmp_path, "primary-clock-step")
    assert result["outcome"] == NOT_POSSIBLE
    assert "no clock of their own" in result["error"]


def test_nothing_is_injected_into_what_is_not_whole(platform: Platform, tmp_path: Path) -> None:
    platform.pods[1]["status"]["conditions"][0]["status"] = "False"
    result = run(platform, tmp_path, "primary-node-paused")
    assert result["outcome"] == FAILED
    assert "not everything was well before: acme: 2 of 3 database members are ready" in result["error"]
    assert not [line for line in platform.log if line.startswith("docker pause")]


def test_a_platform_that_does_not_recover_is_told_with_its_reason(platform: Platform, tmp_path: Path) -> None:
    def pause() -> str:
        platform.states["node-a"] = "paused"
        platform.pods[1]["status"]["conditions"][0]["status"] = "False"
        return ""

    platform.answer("docker pause", pause)
    result = run(platform, tmp_path, "primary-node-paused")
    assert result["outcome"] == NOT_WHOLE
    assert "2 of 3 database members are ready" in result["error"]


def test_a_fault_that_the_watchdog_had_to_end_fails_its_drill() -> None:
    outcome = {"notPossible": None, "refused": None, "at": 1.0, "bitAt": 2.0, "healedBy": "watchdog", "error": None}
    assert conclude({**outcome, "wholeAt": 9.0}, {"status": "completed", "run": []})[0] == FAILED


def test_histories_are_kept(platform: Platform, tmp_path: Path) -> None:
    run(platform, tmp_path, "primary-node-paused")
    (line,) = (tmp_path / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["experiment"] == "primary-node-paused"
    assert (tmp_path / "experiments" / "000-primary-node-paused-1.json").exists()
    events = [json.loads(one)["event"] for one in (tmp_path / "timeline.jsonl").read_text().splitlines()]
    assert [one for one in events if one in {"injecting", "bit", "healed", "concluded"}] == [
        "injecting", "bit", "healed", "concluded",
    ]  # fmt: skip


def test_a_session_ends_when_the_platform_stays_broken(platform: Platform, tmp_path: Path) -> None:
    def pause() -> str:
        platform.states["node-a"] = "paused"
        platform.pods[1]["status"]["conditions"][0]["status"] = "False"
        return ""

    platform.answer("docker pause", pause)
    session = Session(SETTINGS, tmp_path, KindDriver(platform), say=lambda words: None)
    items = [
        Item(number, "primary-node-paused", 1, "acme", 0.0, 1, {"hold": 0, "whole_within": 0}) for number in range(3)
    ]
    assert Runner(session, tmp_path, lambda words: None, play).go(items) is False
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 1
    assert "kubectl delete lease okitoki-drill -n okitoki-system --ignore-not-found" in platform.log


def test_what_looks_well_for_a_moment_only_is_not_whole(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("okitoki_chaos.session.STEADY_SECONDS", 0.01)
    session = Session(SETTINGS, tmp_path, KindDriver(platform), say=lambda words: None)
    looks = [[], ["postgres-1 is down"], *([[]] * 10**5)]
    monkeypatch.setattr(session, "not_whole", lambda: looks.pop(0))
    broken = session.timeline.now()
    assert session.whole(5) == []
    assert len(looks) < 10**5  # it looked again after the broken look
    (event,) = [one for one in session.timeline.events if one["event"] == "whole"]
    assert event["at"] > broken
