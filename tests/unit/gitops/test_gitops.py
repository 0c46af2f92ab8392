"""What GitOps tools make of the resources: health in Argo CD's own language, kstatus, what kustomize builds."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lupa
import pytest
import yaml
from unit.operator.factory import a_database, a_tenant, member, what_is_observed

from okitoki.api.crds import all_crds
from okitoki.api.tenant import Tenant
from okitoki.kube.apply import Applied
from okitoki.kube.resources import ObjectKey
from okitoki.reconcile import conditions as cond
from okitoki.reconcile.kind import InvalidResource, Outcome
from okitoki.reconcile.loop import final_conditions, invalid
from okitoki.tenant.conditions import conditions
from okitoki_local.environment import Environment

ROOT = Path(__file__).resolve().parents[3]
ARGOCD = ROOT / "examples/gitops/argocd"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NO_PRIMARY = a_database(members=(member("postgres-1"), member("postgres-2")), voters=())


def resource(tenant: Tenant, found: list[cond.Condition], seen: int = 4) -> dict[str, Any]:
    """The object as the operator leaves it; its generation is 4, `seen` the one that was looked at."""
    return {
        "metadata": {"name": tenant.metadata.name, "generation": 4},
        "status": {"observedGeneration": seen, "conditions": cond.merge([], found, seen, NOW)},
    }


def reconciled(
    outcome: Outcome | None = None, *, seen: int = 4, spec: dict[str, Any] | None = None, **changes: Any
) -> Any:
    tenant, outcome = a_tenant(**(spec or {})), outcome or Outcome()
    observed = what_is_observed(tenant, **changes)
    return resource(tenant, final_conditions(conditions(tenant, observed, outcome), outcome), seen)


def refused() -> Outcome:
    return Outcome(Applied(failed={ObjectKey("Service", "tenant-acme", "app"): "quota exceeded"}))


STATES = {
    "well": (reconciled(), "Healthy", "Current"),
    "not seen yet": ({"metadata": {"generation": 4}}, "Progressing", "InProgress"),
    "newer spec": (reconciled(seen=3), "Progressing", "InProgress"),
    "no primary": (reconciled(database=NO_PRIMARY), "Progressing", "InProgress"),
    "foreign namespace": (reconciled(namespace="foreign"), "Progressing", "InProgress"),
    "an object refused": (reconciled(refused()), "Progressing", "InProgress"),
    "suspended": (reconciled(spec={"state": "Suspended"}), "Suspended", "Current"),
    "asleep": (
        reconciled(spec={"state": "Paused"}, database=a_database(members=(), voters=()), database_replicas=0,
                   app=what_is_observed().app.__class__()),
        "Suspended",
        "Current",
    ),
    "invalid": (
        resource(a_tenant(), invalid(InvalidResource("spec.numbers", "must be unique"))), "Degraded", "Failed"
    ),
}  # fmt: skip


def argocd(found: dict[str, Any]) -> tuple[str, str]:
    """Health and message by the Lua script, run as Argo CD runs it: the object is the global `obj`."""
    lua = lupa.LuaRuntime()
    lua.globals().obj = lua.table_from(found, recursive=True)
    result = lua.execute((ARGOCD / "health.lua").read_text())
    return result["status"], result["message"]


def kstatus(found: dict[str, Any]) -> str:
    """The rules of kstatus for a custom resource (sigs.k8s.io/cli-utils, pkg/kstatus, README). Strict about a missing
    status: the operator reports Ready=False on first sight."""
    status = found.get("status") or {}
    said = {item["type"]: item["status"] for item in status.get("conditions") or []}
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return "InProgress"
    if said.get("Stalled") == "True":
        return "Failed"
    if said.get("Reconciling") == "True" or said.get("Ready") != "True":
        return "InProgress"
    return "Current"


@pytest.mark.parametrize(("found", "health", "computed"), STATES.values(), ids=STATES)
def test_health_in_each_state(found: dict[str, Any], health: str, computed: str) -> None:
    status, message = argocd(found)
    assert (status, kstatus(found)) == (health, computed)
    ready = [c for c in (found.get("status") or {}).get("conditions", []) if c["type"] == "Ready"]
    if ready and found["status"]["observedGeneration"] == 4 and status != "Degraded":
        assert message == ready[0]["message"]


def kustomize(folder: Path) -> list[dict[str, Any]]:
    path = f"{Environment.detect().tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    kubectl = shutil.which("kubectl", path=path)
    if kubectl is None:
        raise FileNotFoundError("kubectl is missing: build it with `make cluster-tools`, or put one into PATH")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def test_kustomize_builds_the_definitions_and_the_examples() -> None:
    assert {item["metadata"]["name"]: item for item in kustomize(ROOT / "crds")} == {
        item["metadata"]["name"]: item for item in all_crds().values()
    }
    assert {(item["kind"], item["metadata"]["name"]) for item in kustomize(ROOT / "examples")} == {
        ("VoiceRegion", "kyiv"), ("Tenant", "acme"), ("Tenant", "globex"),
    }  # fmt: skip


def test_the_health_check_arrives_under_the_name_that_argo_cd_looks_for() -> None:
    (config_map,) = kustomize(ARGOCD)
    prefix, script = "resource.customizations.health.platform.oki-toki.net_", (ARGOCD / "health.lua").read_text()
    assert config_map["metadata"]["name"] == "argocd-cm"
    assert config_map["data"] == {f"{prefix}Tenant": script, f"{prefix}VoiceRegion": script}


def test_flux_finds_the_charts_and_folders_that_are_named() -> None:
    documents = list(yaml.safe_load_all((ROOT / "examples/gitops/flux/platform.yaml").read_text()))
    releases = {item["metadata"]["name"]: item["spec"] for item in documents if item["kind"] == "HelmRelease"}
    for spec in releases.values():
        assert (ROOT / spec["chart"]["spec"]["chart"] / "Chart.yaml").is_file()
        assert {needed["name"] for needed in spec.get("dependsOn", [])} <= set(releases)
    (tenants,) = [item["spec"] for item in documents if item["kind"] == "Kustomization"]
    assert (ROOT / tenants["path"] / "kustomization.yaml").is_file()
    assert tenants["wait"] is True
    values = yaml.safe_load((ROOT / "charts/okitoki/values.yaml").read_text())
    assert set(releases["okitoki-operator"]["values"]["images"]) == set(values["images"])
