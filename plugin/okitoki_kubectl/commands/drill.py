"""`drill run|status|abort`: the drills of chart `okitoki-drills` (docs/drills.md, "In a cluster that is not kind").

A drill is a Job of the chart's CronJob. The consent that a fault needs, and one drill at a time, are the drill's own
business; here it is only started, shown and told to end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from okitoki_kubectl.cluster import Cluster, Resource
from okitoki_kubectl.view import Row
from okitoki_kubectl.waiting import Failed, Waiter

SELECTOR = "app.kubernetes.io/part-of=okitoki-drills,app.kubernetes.io/name=drill"
ABORT_SECONDS = 330.0
"""The pod's grace, in which it undoes what is open, and a little more."""
REFUSED = "exit code 2"
"""In the words of the Job's controller: the drill was refused or is misconfigured."""


@dataclass(frozen=True)
class Plan:
    """A CronJob, and the plan that its drills run."""

    namespace: str
    cron_job: str
    plan: str


def run(cluster: Cluster, plan: str | None, waiter: Waiter) -> list[Row]:
    """Begin a drill now; raises `Failed`, `KubectlError`."""
    chosen = _choose(_plans(cluster), plan)
    if running := [row for row in _rows(cluster, [chosen]) if row["state"] == "Running"]:
        raise Failed(
            f"{running[0]['drill']} of plan {chosen.plan} runs: wait for it, or kubectl okitoki drill abort "
            f"{running[0]['drill']}"
        )
    name = f"{chosen.cron_job[:44]}-{waiter.now():%Y%m%d-%H%M%S}"
    cluster.create_job(chosen.namespace, name, chosen.cron_job)
    return [_row(name, chosen, "Running", waiter.stamp(), None, f"kubectl -n {chosen.namespace} logs -f job/{name}")]


def status(cluster: Cluster) -> list[Row]:
    """All drills that the cluster still knows, newest first; raises `Failed`, `KubectlError`."""
    return _rows(cluster, _plans(cluster))


def abort(cluster: Cluster, name: str | None, waiter: Waiter) -> list[Row]:
    """Tell a drill to end: it undoes what is open first. Raises `Failed`, `KubectlError`."""
    rows = _rows(cluster, _plans(cluster))
    chosen = [row for row in rows if (row["drill"] == name if name else row["state"] == "Running")]
    if not chosen:
        raise Failed(f"there is no drill {name}" if name else "no drill runs: see kubectl okitoki drill status")
    if len(chosen) > 1:
        raise Failed(f"several drills run, name one: {', '.join(row['drill'] for row in chosen)}")
    [row] = chosen
    if row["state"] != "Running":
        raise Failed(f"{row['drill']} has ended already ({row['state']}): there is nothing to abort")
    cluster.delete_job(row["namespace"], row["drill"])

    def gone() -> tuple[bool | None, str]:
        there = any(item["metadata"]["name"] == row["drill"] for item in cluster.jobs(row["namespace"]))
        return (None if there else True), f"{row['drill']}: it undoes what is open and ends"

    ended, _ = waiter.until(gone, ABORT_SECONDS)
    if ended is None:
        raise Failed(
            f"{row['drill']} has not ended after {ABORT_SECONDS:.0f} s: what is open is in the ConfigMap "
            f"okitoki-drill-journal of {row['namespace']}; the watchdog undoes it at its time limit"
        )
    return [{**row, "state": "Aborted", "message": "what was open is undone; the next drill of the plan goes on here"}]


def _plans(cluster: Cluster) -> list[Plan]:
    found = []
    for cron_job in cluster.cron_jobs(SELECTOR):
        namespace, name = cron_job["metadata"]["namespace"], cron_job["metadata"]["name"]
        volumes = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"].get("volumes") or []
        config = next((v["configMap"]["name"] for v in volumes if v["name"] == "config" and "configMap" in v), None)
        data = cluster.config(namespace, config) if config else {}
        try:
            plan = str(json.loads(data.get("drill.json", "{}")).get("plan", ""))
        except (ValueError, AttributeError):
            plan = ""
        found.append(Plan(namespace, name, plan))
    if not found:
        raise Failed(
            "no drills are installed in this cluster: helm install drills charts/okitoki-drills (docs/drills.md); on "
            "the local cluster make drill runs them"
        )
    return found


def _choose(plans: list[Plan], plan: str | None) -> Plan:
    chosen = [item for item in plans if plan in (None, item.plan)]
    there = ", ".join(f"{item.plan} ({item.namespace}/{item.cron_job})" for item in plans)
    if not chosen:
        raise Failed(
            f"no installed drill has the plan {plan}, there is {there}: set drill.plan={plan} in the release's values, "
            "or install a second release"
        )
    if len(chosen) > 1:
        raise Failed(f"several drills would do, choose with --plan, or kubectl create job --from=cronjob/…: {there}")
    return chosen[0]


def _rows(cluster: Cluster, plans: list[Plan]) -> list[Row]:
    found = []
    for plan in plans:
        for job in cluster.jobs(plan.namespace):
            owners = job["metadata"].get("ownerReferences") or []
            if any((item["kind"], item["name"]) == ("CronJob", plan.cron_job) for item in owners):
                found.append(_job_row(job, plan))
    return sorted(found, key=lambda row: str(row["started"] or "~"), reverse=True)


def _job_row(job: Resource, plan: Plan) -> Row:
    status = job.get("status") or {}
    ends = {item["type"]: item for item in status.get("conditions") or [] if item["status"] == "True"}
    started = status.get("startTime") or job["metadata"].get("creationTimestamp")
    name = job["metadata"]["name"]
    if done := ends.get("Complete"):
        return _row(name, plan, "Passed", started, done["lastTransitionTime"], "every verdict holds")
    if failed := ends.get("Failed"):
        message = str(failed.get("message", ""))
        state = "Refused" if REFUSED in message else "Failed"
        return _row(name, plan, state, started, failed["lastTransitionTime"], message)
    return _row(name, plan, "Running", started, None, f"kubectl -n {plan.namespace} logs -f job/{name}")


def _row(name: str, plan: Plan, state: str, started: Any, ended: Any, message: str) -> Row:
    return {
        "drill": name, "namespace": plan.namespace, "plan": plan.plan, "state": state, "started": started,
        "ended": ended, "message": message,
    }  # fmt: skip
