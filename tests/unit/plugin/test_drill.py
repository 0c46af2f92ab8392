"""`drill run|status|abort`: which CronJob, what is refused, and what the Jobs say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.plugin.support import Clock, Fake

from okitoki_kubectl.commands.drill import abort, run, status
from okitoki_kubectl.main import parser
from okitoki_kubectl.waiting import Failed


def cron_job(name: str = "drills-drill", plan: str = "smoke") -> dict[str, Any]:
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "config", "configMap": {"name": f"{name}-config"}}]
    spec = {"jobTemplate": {"spec": {"template": {"spec": {"volumes": volumes}}}}}
    return {"metadata": {"name": name, "namespace": "okitoki-drills"}, "spec": spec, "plan": plan}


def job(name: str, *conditions: tuple[str, str], of: str = "drills-drill") -> dict[str, Any]:
    made = [
        {"type": kind, "status": "True", "message": message, "lastTransitionTime": "2026-11-25T12:10:00Z"}
        for kind, message in conditions
    ]
    owner = {"kind": "CronJob", "name": of}
    metadata = {"name": name, "namespace": "okitoki-drills", "ownerReferences": [owner]}
    return {"metadata": metadata, "status": {"startTime": f"2026-11-25T{name[-2:]}:00:00Z", "conditions": made}}


class Drills(Fake):
    """A cluster with the chart's CronJobs; a Job that is told to end is gone after some looks."""

    def __init__(self, cron_jobs: list[dict[str, Any]], *jobs: dict[str, Any], looks: int = 3) -> None:
        super().__init__()
        self._cron_jobs, self._jobs, self._looks = cron_jobs, list(jobs), looks
        self._ending = ""

    def cron_jobs(self, selector: str) -> list[dict[str, Any]]:
        assert selector == "app.kubernetes.io/part-of=okitoki-drills,app.kubernetes.io/name=drill"
        return self._cron_jobs

    def jobs(self, namespace: str) -> list[dict[str, Any]]:
        if self._ending:
            self._looks -= 1
        return [item for item in self._jobs if self._looks > 0 or item["metadata"]["name"] != self._ending]

    def config(self, namespace: str, name: str) -> dict[str, str]:
        plan = next(item["plan"] for item in self._cron_jobs if name == f"{item['metadata']['name']}-config")
        return {"drill.json": json.dumps({"plan": plan})}

    def create_job(self, namespace: str, name: str, cron_job: str) -> None:
        self.changes.append(("create", namespace, name, cron_job))

    def delete_job(self, namespace: str, name: str) -> None:
        self.changes.append(("delete", namespace, name))
        self._ending = name


@pytest.mark.parametrize("plan", [None, "smoke"])
def test_a_drill_is_a_job_of_the_charts_cron_job(plan: str | None) -> None:
    fake = Drills([cron_job()], job("drills-drill-09", ("Complete", "")))
    [row] = run(fake, plan, Clock().waiter())
    assert fake.changes == [("create", "okitoki-drills", "drills-drill-20261125-120000", "drills-drill")]
    assert (row["plan"], row["state"]) == ("smoke", "Running")
    assert row["message"] == "kubectl -n okitoki-drills logs -f job/drills-drill-20261125-120000"


@pytest.mark.parametrize(
    ("cron_jobs", "jobs", "plan", "words"),
    [
        ([], [], None, "no drills are installed in this cluster: helm install"),
        ([cron_job()], [], "full", r"no installed drill has the plan full, there is smoke .*set drill.plan=full"),
        ([cron_job(), cron_job("other", "full")], [], None, r"several drills would do, choose with --plan"),
        ([cron_job()], [job("drills-drill-09")], None, r"drills-drill-09 of plan smoke runs: wait for it, or .*abort"),
    ],
)
def test_what_cannot_begin_is_refused_with_the_mend(
    cron_jobs: list[dict[str, Any]], jobs: list[dict[str, Any]], plan: str | None, words: str
) -> None:
    fake = Drills(cron_jobs, *jobs)
    with pytest.raises(Failed, match=words):
        run(fake, plan, Clock().waiter())
    assert fake.changes == []


def test_all_drills_are_shown_newest_first_with_their_ends() -> None:
    refused = "Container drill for pod a/b failed with exit code 2 matching FailJob rule at index 0"
    failed = "Container drill for pod a/b failed with exit code 1 matching FailJob rule at index 0"
    fake = Drills(
        [cron_job()], job("a-06", ("Complete", "")), job("b-07", ("Failed", failed)), job("c-08", ("Failed", refused)),
        job("d-09"), job("foreign-10", of="backup"),
    )  # fmt: skip
    shown = [(row["drill"], row["state"]) for row in status(fake)]
    assert shown == [("d-09", "Running"), ("c-08", "Refused"), ("b-07", "Failed"), ("a-06", "Passed")]


@pytest.mark.parametrize("name", [None, "drills-drill-09"])
def test_a_drill_that_is_aborted_is_waited_for(name: str | None) -> None:
    fake, clock = Drills([cron_job()], job("drills-drill-09"), job("drills-drill-08", ("Complete", ""))), Clock()
    [row] = abort(fake, name, clock.waiter())
    assert fake.changes == [("delete", "okitoki-drills", "drills-drill-09")]
    assert row["state"] == "Aborted"
    assert any("undoes what is open" in line for line in clock.told)


@pytest.mark.parametrize(
    ("jobs", "name", "words"),
    [
        ([], None, "no drill runs"),
        ([], "x", "there is no drill x"),
        ([job("d-08", ("Complete", ""))], "d-08", r"d-08 has ended already \(Passed\)"),
        ([job("d-08"), job("d-09")], None, "several drills run, name one: d-09, d-08"),
    ],
)
def test_what_cannot_be_aborted_is_told(jobs: list[dict[str, Any]], name: str | None, words: str) -> None:
    fake = Drills([cron_job()], *jobs)
    with pytest.raises(Failed, match=words):
        abort(fake, name, Clock().waiter())
    assert fake.changes == []


def test_a_drill_that_does_not_end_sends_the_person_to_the_journal() -> None:
    fake = Drills([cron_job()], job("d-09"), looks=10_000)
    with pytest.raises(
        Failed, match="has not ended after 330 s: what is open is in the ConfigMap okitoki-drill-journal"
    ):
        abort(fake, None, Clock().waiter())


def test_its_words_on_the_command_line() -> None:
    given = parser().parse_args(["drill", "run", "--plan", "smoke", "-o", "json"])
    assert (given.action, given.plan, given.output) == ("run", "smoke", "json")
    assert parser().parse_args(["drill", "abort"]).name is None
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(["drill"])
