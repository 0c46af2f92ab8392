from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from okitoki_load.recorder import LATE_SECONDS
from okitoki_locust.options import Options
from okitoki_locust.run import Run


def options(folder: Path) -> Options:
    target = SimpleNamespace(key=lambda: "otk_key", tenant="acme", region="kyiv.test")
    return cast(Options, SimpleNamespace(target=target, ledger=folder, requests_at_once=8, deadline=1.0))


def test_a_start_that_came_late_is_made_and_noted_with_its_delay(tmp_path: Path) -> None:
    published: list[dict[str, Any]] = []
    run = Run(options(tmp_path), "run", 0, lambda **event: published.append(event))
    began: list[float] = []
    now = run.clock.now()
    late, punctual = now - LATE_SECONDS - 5, now + LATE_SECONDS
    run.begin(began.append, late)
    run.begin(began.append, punctual)
    run.end()
    assert began == [late, punctual]
    notes = [json.loads(line) for line in (tmp_path / "run" / "ledger-0.jsonl").read_text().splitlines()]
    [note] = [note for note in notes if note["type"] == "late"]
    assert note["due"] == late
    assert note["seconds"] >= LATE_SECONDS + 5
    [event] = [event for event in published if event["name"] == "late start"]
    assert event["exception"] is None
    assert event["response_time"] >= (LATE_SECONDS + 5) * 1000
