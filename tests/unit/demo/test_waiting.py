from __future__ import annotations

import json
from typing import Any

import pytest

from okitoki_local.demo.waiting import Watcher, is_ready
from okitoki_local.system import LocalClusterError


def resource(name: str, status: str | None, *, generation: int = 2, observed: int = 2, message: str = "m") -> Any:
    conditions = []
    if status is not None:
        conditions.append(
            {"type": "Ready", "status": status, "reason": "R", "message": message, "observedGeneration": observed}
        )
    return {
        "kind": "Tenant",
        "metadata": {"name": name, "generation": generation},
        "status": {"conditions": conditions},
    }


@pytest.mark.parametrize(
    ("obj", "ready"),
    [
        (resource("a", "True"), True),
        (resource("a", "False"), False),
        (resource("a", None), False),
        (resource("a", "True", observed=1), False),
        ({"kind": "Tenant", "metadata": {"name": "a"}}, False),
    ],
)
def test_ready_counts_only_for_the_present_generation(obj: Any, ready: bool) -> None:
    assert is_ready(obj) is ready


def watcher(series: list[list[Any]]) -> Watcher:
    answers = iter(series)
    return Watcher(lambda *_: json.dumps({"items": next(answers)}), ["tenant a"])


def test_changes_are_said_once_and_waiting_ends_when_ready(capsys: pytest.CaptureFixture[str]) -> None:
    waiting, ready = resource("a", "False", message="database starts"), resource("a", "True", message="")
    stranger = resource("b", "False", message="not ours")
    watcher([[], [waiting, stranger], [waiting], [ready]]).wait(5, interval=0.001)
    said = capsys.readouterr().err
    assert said.count("tenant a: Ready is False (R)\n") == 1
    assert said.count("tenant a: Ready is True (R)") == 1
    assert "not ours" not in said


def test_a_message_that_changes_all_the_time_is_no_change(capsys: pytest.CaptureFixture[str]) -> None:
    series = [[resource("a", "False", message=str(number))] for number in range(5)]
    watcher([*series, [resource("a", "True")]]).wait(5, interval=0.001)
    assert capsys.readouterr().err.count("Ready is False") == 1


def test_what_is_not_ready_in_time_is_named() -> None:
    with pytest.raises(LocalClusterError, match="not Ready within 0 s: tenant a"):
        watcher([[resource("a", "False")]] * 1000).wait(0.01, interval=0.001)
