from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from okitoki_local.drill.box import Box
from okitoki_local.drill.run import Drill, Options, lines
from okitoki_local.drill.session import load_judged, set_aside, stalls_of
from okitoki_local.environment import Environment
from okitoki_local.system import LocalClusterError

IMAGES = {"drill": "okitoki/drill:1", "phones": "okitoki/phones:1"}


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    state = tmp_path / "state"
    state.mkdir()
    return Environment("test", True, state, tmp_path / "cache")


def drill_of(env: Environment, tmp_path: Path, **options: Any) -> Drill:
    return Drill(env, IMAGES, Options(reports=tmp_path / "drills", **options))


def test_the_box_drops_every_capability_and_joins_the_sockets_group(env: Environment, tmp_path: Path) -> None:
    path = env.state / "docker.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        arguments = Box(env, IMAGES["drill"], tmp_path / "k").arguments("x", tmp_path, ("drill", "/work"))
    text = " ".join(arguments)
    assert f"--user {os.getuid()}:{os.getgid()} --group-add {path.stat().st_gid}" in text
    assert "--cap-drop ALL --read-only" in text
    assert f"{tmp_path / 'k'}:/run/kubeconfig:ro" in text
    assert arguments[-3:] == ["okitoki/drill:1", "drill", "/work"]


def test_a_plan_is_kept_and_a_resumed_drill_has_the_same(env: Environment, tmp_path: Path) -> None:
    first = drill_of(env, tmp_path, plan="smoke", seed=3)
    made = first._plan()
    again = drill_of(env, tmp_path, resume=first.folder)
    assert again._plan() == made


def test_a_folder_without_a_plan_is_no_drills(env: Environment, tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match="no drill's folder"):
        drill_of(env, tmp_path, resume=tmp_path)._plan()


def test_sessions_that_were_concluded_are_not_run_again(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drill = drill_of(env, tmp_path, plan="controls", seed=3)
    plan = drill._plan()
    done = drill.folder / "session-001"
    done.mkdir()
    (done / "judged.json").write_text('{"begun": 0, "ended": 60}')
    cut = drill.folder / "session-002"
    cut.mkdir()
    (cut / "results.jsonl").write_text("{}\n")
    ran: list[int] = []

    def session(plan_: Any, number: int, items: Any, **_: Any) -> bool:
        ran.append(number)
        return True

    monkeypatch.setattr(drill, "_session", session)
    drill._sessions(plan)
    assert ran == [2, 3]
    assert (drill.folder / "session-002.interrupted-1" / "results.jsonl").exists()


def test_a_broken_platform_ends_the_drill(env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drill = drill_of(env, tmp_path, plan="controls", seed=3)
    plan = drill._plan()
    ran: list[int] = []

    def session(plan_: Any, number: int, items: Any, **_: Any) -> bool:
        ran.append(number)
        return False

    monkeypatch.setattr(drill, "_session", session)
    drill._sessions(plan)
    assert ran == [1]


def test_a_soak_ends_with_its_hours_whatever_is_left(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drill = drill_of(env, tmp_path, plan="soak", seed=3, hours=1.0)
    plan = drill._plan()
    done = drill.folder / "session-001"
    done.mkdir()
    (done / "judged.json").write_text('{"begun": 0, "ended": 3601}')
    monkeypatch.setattr(drill, "_session", lambda *_, **__: pytest.fail("the hours are over"))
    drill._sessions(plan)


def test_what_an_interrupted_session_left_is_kept_each_time(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "session-001").mkdir()
        set_aside(tmp_path / "session-001")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "session-001.interrupted-1", "session-001.interrupted-2",
    ]  # fmt: skip
    assert load_judged(tmp_path / "session-001") is None


def test_stalls_of_drill_and_clients_stand_together(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text(json.dumps({"type": "stall", "at": 2.0, "seconds": 0.4}) + "\n")
    events = [{"event": "stall", "at": 3.0, "seconds": 0.2}, {"event": "bit", "at": 1.0}]
    assert stalls_of(events, {"acme": ledger}) == [
        {"who": "writer of acme", "at": 2.0, "seconds": 0.4},
        {"who": "drill", "at": 3.0, "seconds": 0.2},
    ]


def test_the_terminal_shows_figures_goals_and_what_was_not_possible() -> None:
    worst = {"writeGapSeconds": 2.5, "failedWrites": 0, "audioGapMs": None, "droppedCalls": 0, "failedCalls": 1,
             "setUpSeconds": 0.4, "wholeAfterSeconds": 20}  # fmt: skip
    found = {
        "experiments": [
            {"experiment": "primary-pod-kill", "runs": 9, "done": 8, "notPossible": 0, "worst": worst,
             "goals": {"writeGapSeconds": 3.0}, "ownStallSeconds": 0.0},
        ],
        "notPossible": ["no clock"], "slow": [], "claim": "no acknowledged loss observed",
        "verdict": "failed", "failures": ["x"],
    }  # fmt: skip
    text = "\n".join(lines(found))
    for words in ("8 of 9", "2.50 s", "3.0 s", "not possible here: no clock", "VERDICT: FAILED", "  - x"):
        assert words in text
