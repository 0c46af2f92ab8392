"""`kubectl okitoki`: what it shows, asks for, and says when it does not work."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from okitoki_kubectl.cluster import Cluster, KubectlError
from okitoki_kubectl.main import SWITCHOVER, Failed, main, status, switchover

PLUGIN = Path(__file__).resolve().parents[3] / "plugin"
SINCE = "2026-11-25T12:00:00Z"


def condition(kind: str, value: str, message: str = "fine") -> dict[str, str]:
    return {"type": kind, "status": value, "reason": "R", "message": message, "lastTransitionTime": SINCE}


class Fake(Cluster):
    """A cluster in memory; `answer` is what the operator writes to the Tenant once it is asked."""

    def __init__(self, answer: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[str] = []
        self.tenant: dict[str, Any] = {
            "kind": "Tenant",
            "metadata": {"name": "acme"},
            "status": {
                "conditions": [condition("Ready", "False", "DatabaseReady: no member takes writes now")],
                "database": {"members": "2/3", "lastSwitchover": {"requested": "old", "succeeded": True}},
                "app": {"replicas": "2/2"},
                "numbers": 0,
            },
        }
        self.region = {
            "kind": "VoiceRegion",
            "metadata": {"name": "kyiv"},
            "status": {
                "conditions": [condition("EdgeRedundant", "True"), condition("Ready", "True")],
                "members": "2/2",
                "holders": {"sip": "edge-0", "https": "edge-1"},
                "tenants": 1,
            },
        }

    def all(self, kind: str) -> list[dict[str, Any]]:
        return {"tenants": [self.tenant], "voiceregions": [self.region]}[kind]

    def one(self, kind: str, name: str) -> dict[str, Any] | None:
        return next((item for item in self.all(kind) if item["metadata"]["name"] == name), None)

    def annotate(self, kind: str, name: str, key: str, value: str) -> None:
        assert (kind, name, key) == ("tenants", "acme", SWITCHOVER)
        self.asked.append(value)
        if self.answer is not None:
            self.tenant["status"]["database"]["lastSwitchover"] = {"requested": value, **self.answer}


def test_the_platform_at_a_glance() -> None:
    assert status(Fake(), None, "table").splitlines() == [
        "Tenants",
        "NAME   READY   PRIMARY   MEMBERS   APP   NUMBERS   WHY",
        "acme   False   -         2/3       2/2   0         DatabaseReady: no member takes writes now",
        "",
        "VoiceRegions",
        "NAME   READY   PODS   PROTECTED   SIP      HTTPS    MEDIA-1   MEDIA-2   TENANTS   WHY",
        "kyiv   True    2/2    True        edge-0   edge-1   -         -         1         -",
    ]


def test_one_of_them_with_its_conditions_for_people_and_programs() -> None:
    shown = status(Fake(), "kyiv", "table")
    assert "EdgeRedundant" in shown
    assert "acme" not in shown
    found = json.loads(status(Fake(), "acme", "json"))
    assert found["regions"] == []
    assert [item["condition"] for item in found["tenants"][0]["conditions"]] == ["Ready"]


def test_a_resource_that_the_operator_has_not_seen_yet_is_shown() -> None:
    fake = Fake()
    fake.tenant = {"kind": "Tenant", "metadata": {"name": "new"}}
    assert "new    Unknown" in status(fake, None, "table")


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(Failed, match="neither a Tenant nor a VoiceRegion nobody"):
        status(Fake(), "nobody", "table")


def ask(fake: Fake, **clocks: Any) -> str:
    return switchover(fake, "acme", "table", now=lambda: datetime(2026, 11, 25, 12, 0, tzinfo=UTC), **clocks)


def test_a_switchover_is_asked_for_once_and_its_answer_waited_for() -> None:
    fake = Fake({"succeeded": True, "message": "postgres-0 has given its role away"})
    assert ask(fake) == "acme: postgres-0 has given its role away"
    assert fake.asked == ["2026-11-25T12:00:00.000000Z"]


def test_a_refusal_is_an_error_in_the_operators_words() -> None:
    fake = Fake({"succeeded": False, "message": "2 of 3 members are in order"})
    with pytest.raises(Failed, match="2 of 3 members are in order"):
        ask(fake)


def test_the_answer_to_an_older_request_is_not_taken_for_this_ones() -> None:
    seconds = iter(range(0, 1000, 20))
    fake = Fake()
    with pytest.raises(Failed, match="no answer in 60 s: does the operator run"):
        ask(fake, clock=lambda: float(next(seconds)), sleep=lambda _: None)
    assert len(fake.asked) == 1


def test_kubectls_own_words_reach_the_user(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\necho "error: You must be logged in" >&2\nexit 1\n')
    program.chmod(0o755)
    with pytest.raises(KubectlError, match=r"^error: You must be logged in$"):
        Cluster(program=str(program)).all("tenants")
    with pytest.raises(KubectlError, match="kubectl is not in PATH"):
        Cluster(program=str(tmp_path / "none")).all("tenants")


def test_the_command_passes_the_context_on(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nassert sys.argv[1] == '--context=here', sys.argv\n"
        "print('{\"items\": []}')\n"
    )
    program.chmod(0o755)
    done = subprocess.run(
        [str(PLUGIN / "kubectl-okitoki"), "--context", "here", "status", "-o", "json"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"tenants": [], "regions": []}


def test_one_resource_is_asked_for_by_its_name_and_may_not_be_there(tmp_path: Path) -> None:
    """A switchover looks every second: among thousands it must not read them all."""
    program = tmp_path / "kubectl"
    program.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "assert sys.argv[1:4] == ['get', 'tenants.platform.oki-toki.net', sys.argv[3]], sys.argv\n"
        "assert '--ignore-not-found' in sys.argv\n"
        "print('{\"metadata\": {\"name\": \"acme\"}}' if sys.argv[3] == 'acme' else '')\n"
    )
    program.chmod(0o755)
    cluster = Cluster(program=str(program))
    assert cluster.one("tenants", "acme") == {"metadata": {"name": "acme"}}
    assert cluster.one("tenants", "nobody") is None


def test_wrong_arguments_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["status", "-o", "yaml"])
    assert "invalid choice" in capsys.readouterr().err
