"""A drill from inside a cluster: consent first, what was left healed, killed sessions counted, the verdict told."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from unit.chaos import test_runner
from unit.chaos.fakes import REGION, TENANT, Platform, agent_driver

from okitoki_chaos import faults, progress, runner
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.cluster_journal import ClusterJournal
from okitoki_chaos.guard import Refused
from okitoki_chaos.staging import events, run
from okitoki_chaos.staging import load as loads
from okitoki_chaos.staging.config import Config, ConfigError, Load, TenantLoad
from okitoki_chaos.staging.load import Locusts
from okitoki_chaos.staging.run import StagingDrill
from okitoki_chaos.steps import Plan
from okitoki_chaos.verdict import TenantFacts
from okitoki_chaos.world import World
from okitoki_load.ledger import OK, Operation

ACME = TenantLoad("acme", "acme.kyiv.okitoki.test", ["+380441234567"], "/keys/acme/key")
CONSENT = {"platform.oki-toki.net/chaos": "allowed"}


class NoLoad:
    """Users who say nothing."""

    def __init__(self, folder: Path, tenants: Sequence[TenantLoad], *_: object) -> None:
        self._folder = folder

    def start(self) -> dict[str, str]:
        (self._folder / "ledger.jsonl").touch()
        return {}

    def end(self) -> list[str]:
        return []


def objects(consent: bool = True) -> str:
    labels = CONSENT if consent else {}
    found = []
    for obj in (TENANT, REGION):
        metadata = {**obj["metadata"], "labels": labels, "uid": f"uid-{obj['metadata']['name']}"}
        found.append({**obj, "apiVersion": "v", "metadata": metadata, "status": test_runner.READY})
    return json.dumps({"items": found})


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    found = Platform()
    found.opt_in("node-a", "node-b")
    found.answer("get voiceregions", objects())
    found.answer(" list ", "101 5000 1 callcentre\n")
    stopped: list[str] = []
    found.answer(" states ", lambda: "T" if stopped else "S")
    found.answer(
        " signal ", lambda: (stopped.append("x") if " signal STOP " in found.log[-1] else stopped.clear()) or "sent"
    )
    monkeypatch.setattr(runner, "Observers", test_runner.Quiet)
    monkeypatch.setattr(runner.Runner.__init__, "__defaults__", (test_runner.play,))
    monkeypatch.setattr("okitoki_chaos.session.STEADY_SECONDS", 0.0)
    monkeypatch.setattr("okitoki_chaos.plan.MOMENT_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(run, "Locusts", NoLoad)
    operations = [Operation("1", "w", 1, {}, time.time(), OK, time.time(), 1)]
    records = [{"id": "1", "note": "load-1/w/1", "recordedAt": "2026-03-01T12:00:00Z"}]
    monkeypatch.setattr(run, "read_back", lambda folder, tenant: TenantFacts(operations, records, "load-1"))
    monkeypatch.setattr(progress, "judge", judged)
    for module in ("session", "ctk.actions", "driver"):
        monkeypatch.setattr(f"okitoki_chaos.{module}.time.sleep", lambda seconds: None)
    return found


def judged(facts: Any) -> dict[str, Any]:
    """The judge proper has its own tests: here only what was run counts."""
    items = [
        {
            **one,
            "figures": {},
            "scene": None,
            "failures": [{"words": one["error"]}] if one["outcome"] == "failed" else [],
        }
        for one in facts.results
    ]
    return {
        "run": facts.facts.run, "begun": facts.facts.begun, "ended": facts.facts.ended, "failures": [], "items": items,
        "writes": {"acme": {"attempted": 1, "acknowledged": 1, "lost": [], "phantom": [], "duplicates": [],
                            "failed": 0, "unknown": 0}},
    }  # fmt: skip


def config(**given: Any) -> Config:
    chosen = {"plan": "each", "only": ["app-frozen", "primary-node-paused"], "seed": 1, "load": Load(), **given}
    return Config([ACME], ["kyiv"], "okitoki-drills", **chosen)


def drill(platform: Platform, results: Path, **given: Any) -> StagingDrill:
    return StagingDrill(config(**given), results, agent_driver(platform), lambda words: None)


def told(platform: Platform) -> list[str]:
    return [line for line in platform.log if line == "create Event"]


def test_a_drill_ends_with_reports_events_and_the_verdict_and_says_what_was_not_possible(
    platform: Platform, tmp_path: Path
) -> None:
    assert drill(platform, tmp_path).go() == 0
    (folder,) = tmp_path.iterdir()
    assert {"report.json", "report.html", "junit.xml", "session-001"} <= {path.name for path in folder.iterdir()}
    found = json.loads((folder / "report.json").read_text())
    assert (found["verdict"], found["faults"]) == ("passed", 1)
    assert "who thaws a machine must be outside" in found["notPossible"][0]
    assert "who thaws a machine" in (folder / "report.html").read_text()
    assert "<skipped" in (folder / "junit.xml").read_text()
    assert found["notMeasured"] == [loads.NOT_MEASURED]
    assert len(told(platform)) == 2
    assert platform.journal.keys() == {key for key in platform.journal if key.startswith("closed.")}


def test_a_drill_in_which_nothing_was_possible_has_not_passed(platform: Platform, tmp_path: Path) -> None:
    assert drill(platform, tmp_path, only=["primary-node-paused"]).go() == 1


def test_without_consent_there_is_not_even_load(platform: Platform, tmp_path: Path) -> None:
    platform.answer("get voiceregions", objects(consent=False))
    with pytest.raises(Refused, match="Tenant acme, VoiceRegion kyiv: no label"):
        drill(platform, tmp_path).go()
    assert list(tmp_path.iterdir()) == []
    assert len(told(platform)) == 2


def test_a_drill_that_cannot_be_run_is_told_like_a_verdict(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: NoLoad) -> dict[str, str]:
        raise ChaosError("no write of acme was acknowledged before any fault")

    monkeypatch.setattr(NoLoad, "start", fails)
    with pytest.raises(ChaosError, match="no write of acme"):
        drill(platform, tmp_path).go()
    assert len(told(platform)) == 2


def left_open(platform: Platform) -> tuple[ClusterJournal, str, Plan]:
    """A freeze that another drill announced; its name in the journal."""
    world = World(agent_driver(platform), [TENANT, REGION])
    plan = faults.plan(world, [{"fault": "freeze", "target": "app"}], "acme", "kyiv")
    journal = ClusterJournal(agent_driver(platform).cluster, "okitoki-drills")
    return journal, journal.announce(plan, 60), plan


def test_what_a_killed_drill_left_open_is_healed_before_anything_else(platform: Platform, tmp_path: Path) -> None:
    journal, identity, plan = left_open(platform)
    for step in plan.inject:
        agent_driver(platform).run(step)
    begun = len(platform.log)
    drill(platform, tmp_path, only=["app-frozen"]).go()
    signals = [line for line in platform.log[begun:] if " signal " in line]
    assert "CONT" in signals[0]
    assert identity not in str(journal.lines())  # closed, and forgotten by the next drill


def test_a_living_drills_fault_is_not_healed_by_another(platform: Platform, tmp_path: Path) -> None:
    journal, identity, _ = left_open(platform)
    platform.lease = {
        "metadata": {"resourceVersion": "1"},
        "spec": {"holderIdentity": "other", "renewTime": "2999-01-01T00:00:00.0Z", "leaseDurationSeconds": 60},
    }
    with pytest.raises(Refused, match="another drill runs"):
        drill(platform, tmp_path).go()
    assert [entry.identity for entry in journal.open()] == [identity]


def interrupted(platform: Platform, results: Path) -> Path:
    """A drill whose pod was killed in its second experiment."""
    first = drill(platform, results, only=["app-frozen", "standby-frozen"])
    folder, plan = first.begin()
    session = progress.session_folder(folder, 1)
    session.mkdir()
    settings = {"run": f"{folder.name}-s1", "seed": 1, "tenants": ["acme"], "regions": ["kyiv"], "begun": 1.0}
    (session / "session.json").write_text(json.dumps(settings))
    item = plan.items[0]
    line = {"name": item.name, "experiment": item.experiment, "title": "t", "row": None, "goals": {}, "mustFail": [],
            "tenant": "acme", "at": None, "bitAt": 5.0, "outcome": "done", "error": None, "target": "t", "facts": {},
            "proofs": []}  # fmt: skip
    (session / "results.jsonl").write_text(json.dumps(line) + "\n")
    (session / "timeline.jsonl").touch()
    return folder


def test_the_next_pod_goes_on_with_what_was_not_concluded(platform: Platform, tmp_path: Path) -> None:
    folder = interrupted(platform, tmp_path)
    assert drill(platform, tmp_path, only=["app-frozen", "standby-frozen"]).go() == 0
    assert list(tmp_path.iterdir()) == [folder]
    found = json.loads((folder / "report.json").read_text())
    names = [item["name"] for item in found["items"]]
    assert len(names) == len(set(names)) == 2  # the first from the killed session, the second run now
    assert [one["run"] for one in found["sessions"]] == [f"{folder.name}-s1", f"{folder.name}-s1-2"]


def test_a_concluded_drill_or_one_of_another_plan_is_not_gone_on_with(platform: Platform, tmp_path: Path) -> None:
    folder = interrupted(platform, tmp_path).rename(tmp_path / "drill-20260101-000000")
    assert drill(platform, tmp_path).begin()[0] == folder
    other = drill(platform, tmp_path, plan="smoke", only=[]).begin()[0]
    assert other != folder
    (folder / progress.REPORT).write_text("{}")
    other.rename(tmp_path / "drill-20260101-000001")
    assert drill(platform, tmp_path).begin()[0].name > "drill-20260101-000001"


def test_an_event_names_the_claim_the_gaps_and_the_first_failure() -> None:
    found = {"run": "drill-1", "plan": "smoke", "claim": "no acknowledged loss observed in 9 operations",
             "notPossible": ["x"], "failures": ["a: b", "c"]}  # fmt: skip
    words = events.message(found)
    for part in (
        "drill-1",
        "no acknowledged loss observed",
        "1 kinds of fault were not possible",
        "2 failures",
        "a: b",
    ):
        assert part in words
    obj = {"apiVersion": "platform.oki-toki.net/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme", "uid": "u"}}
    made = events.event(obj, events.FAILED, words * 20)
    assert (made["type"], len(made["message"])) == ("Warning", events.MAX_MESSAGE)
    assert made["involvedObject"]["uid"] == "u"
    assert made["metadata"]["namespace"] == "default"
    assert events.event(obj, events.PASSED, "x")["type"] == "Normal"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tenants": []}, "tenants: name at least one"),
        ({"tenants": [{"name": "acme"}]}, r"tenants\[0\]: missing .*host"),
        ({"colour": "red"}, "the configuration: colour: unknown field"),
        ({"load": {"user": 1}}, "load: user: unknown field"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_by_its_field(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    path = tmp_path / "drill.json"
    tenant = {"name": "acme", "host": "h.x", "numbers": ["+1"], "key_file": "k"}
    path.write_text(json.dumps({"tenants": [tenant], "regions": ["kyiv"], "namespace": "n", **values}))
    with pytest.raises(ConfigError, match=words):
        Config.read(path)


FAKE_LOCUST = """
import json, pathlib, signal, sys, time
place = pathlib.Path(sys.argv[1]) / "load-x"
place.mkdir()
(place / "run.json").write_text(json.dumps({"run": "load-x"}))
book = (place / "ledger-0.jsonl").open("w")
book.write('{"type":"note"}\\n{"type":"outcome","outcome":"ok","finished":%f}\\n' % time.time()); book.flush()
signal.signal(signal.SIGTERM, lambda *_: (book.write("end\\n"), book.flush(), sys.exit(0)))
time.sleep(600)
"""


def test_users_run_until_they_are_told_to_end_and_end_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        loads, "arguments", lambda tenant, load, folder, seed: [sys.executable, "-c", FAKE_LOCUST, folder]
    )
    locusts = Locusts(tmp_path, [ACME], Load(), 1)
    assert locusts.start() == {"acme": "load-acme/load-x/ledger-0.jsonl"}
    assert locusts.end() == []
    assert (tmp_path / "load-acme/load-x/ledger-0.jsonl").read_text().endswith("end\n")


def test_users_that_cannot_begin_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "print('--api-key-file: holds no key'); exit(2)"
    monkeypatch.setattr(loads, "arguments", lambda *_: [sys.executable, "-c", said])
    with pytest.raises(ChaosError, match="no write of acme was acknowledged before any fault: --api-key-file"):
        Locusts(tmp_path, [ACME], Load(), 1).start()


def test_locust_knows_every_argument_that_it_is_given() -> None:
    from argparse import ArgumentParser

    from okitoki_locust.options import add_arguments

    class Parser(ArgumentParser):
        def add_argument(self, *names: Any, **more: Any) -> Any:
            return super().add_argument(
                *names, **{k: v for k, v in more.items() if k not in {"env_var", "include_in_web_ui"}}
            )

    parser = Parser()
    add_arguments(parser)
    tenant = TenantLoad("acme", "acme.kyiv.okitoki.test", ["+380441234567"], "/k", "198.18.16.203", "/ca/ca.crt")
    words = loads.arguments(tenant, Load(), Path("/results"), 5)
    known, left = parser.parse_known_args(words[words.index("--headless") :])
    assert left == ["--headless", "--host", "https://acme.kyiv.okitoki.test", "--users", "4", "--spawn-rate", "4"]
    assert (known.judge, known.address, known.ca_file, known.seed) == ("no", "198.18.16.203", "/ca/ca.crt", 5)
