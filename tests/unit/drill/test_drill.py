from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from okitoki_chaos.plan import Plan
from okitoki_local.drill.box import Box
from okitoki_local.drill.run import Drill, Options
from okitoki_local.drill.session import Session
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


def judged(folder: Path, *names: str, seconds: float = 60) -> None:
    folder.mkdir(exist_ok=True)
    items = [{"name": name} for name in names]
    (folder / "judged.json").write_text(json.dumps({"begun": 0, "ended": seconds, "items": items}))


def test_only_what_no_session_has_concluded_is_run(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drill = drill_of(env, tmp_path, plan="controls", seed=3)
    plan = drill._plan()
    judged(drill.folder / "session-001", plan.items[0].name)
    cut = drill.folder / "session-002"
    cut.mkdir()
    (cut / "results.jsonl").write_text("{}\n")
    ran: list[int] = []

    def go(self: Session, box: Any, items: Any, **_: Any) -> bool:
        ran.append(items[0].session)
        return True

    monkeypatch.setattr(Session, "go", go)
    monkeypatch.setattr(drill._containers, "remove_all", lambda **_: [])
    drill._sessions(plan)
    assert ran == [2, 3]
    assert (drill.folder / "session-002.interrupted-1" / "results.jsonl").exists()


def interrupted(env: Environment, tmp_path: Path) -> tuple[Drill, Plan]:
    """A drill that goes on, and its plan: the one before was killed after its first session's first experiment."""
    first = drill_of(env, tmp_path, plan="controls", seed=3)
    plan = first._plan()
    folder = first.folder / "session-001"
    folder.mkdir()
    settings = {"run": f"{first.folder.name}-s1", "seed": 4, "tenants": ["acme"], "regions": ["kyiv"], "begun": 5.0}
    (folder / "session.json").write_text(json.dumps(settings))
    return drill_of(env, tmp_path, resume=first.folder), plan


class Clients:
    """What salvaging does to containers; `alive` and how they end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, drill: Drill, *, alive: bool, trouble: bool) -> None:
        self.did: list[str] = []
        monkeypatch.setattr(drill._box, "stop_drill", lambda: self.did.append("drill"))
        monkeypatch.setattr(drill._box, "stop_watchdog", lambda: self.did.append("watchdog") or [])
        monkeypatch.setattr(drill._containers, "running", lambda name: alive)
        monkeypatch.setattr("okitoki_local.drill.session.placed", lambda *_, **__: ([], None))
        ended = ["carrier had to be killed"] if trouble else []
        monkeypatch.setattr("okitoki_local.drill.session.Traffic.end", lambda _: self.did.append("traffic") or ended)
        monkeypatch.setattr(Session, "_judge", self.judge)

    def judge(self, traffic: Any, addresses: Any, tenants: Any, troubles: Any) -> None:
        self.did.append("judged")


def test_what_a_killed_session_concluded_counts_when_its_clients_can_still_say_what_they_saw(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, plan = interrupted(env, tmp_path)
    clients = Clients(monkeypatch, again, alive=True, trouble=False)
    again._salvage(plan)
    assert clients.did == ["drill", "watchdog", "traffic", "judged"]  # faults are undone before the clients go


@pytest.mark.parametrize(("alive", "trouble"), [(False, False), (True, True)])
def test_without_its_clients_a_killed_session_is_run_again(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: bool, trouble: bool
) -> None:
    again, plan = interrupted(env, tmp_path)
    clients = Clients(monkeypatch, again, alive=alive, trouble=trouble)
    again._salvage(plan)
    assert "judged" not in clients.did


def test_a_session_that_was_killed_before_it_was_described_is_run_again(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = drill_of(env, tmp_path, plan="controls", seed=3)
    plan = first._plan()
    (first.folder / "session-001").mkdir()
    clients = Clients(monkeypatch, first, alive=True, trouble=False)
    first._salvage(plan)
    assert clients.did == ["drill", "watchdog"]


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
    judged(drill.folder / "session-001", plan.items[0].name, seconds=3601)
    monkeypatch.setattr(drill, "_session", lambda *_, **__: pytest.fail("the hours are over"))
    drill._sessions(plan)
