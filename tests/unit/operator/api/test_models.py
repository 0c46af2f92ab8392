"""The models say what the CRDs' rules say, for objects that are older than a rule; and crds/ is up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.operator.factory import a_tenant

from okitoki.api.crds import all_crds, main
from okitoki.api.status import TenantStatus
from okitoki.api.tenant import Tenant, storage_bytes, storage_size
from okitoki.api.voiceregion import VoiceRegion
from okitoki.reconcile.kind import InvalidResource
from okitoki.reconcile.parse import parse

ROOT = Path(__file__).resolve().parents[4]
REGION: dict[str, Any] = {
    "domain": "kyiv.okitoki.test",
    "nodeSelector": {"a": "b"},
    "addresses": {"sip": "198.18.1.1", "https": "198.18.1.2", "media": ["198.18.1.3", "198.18.1.4"]},
    "media": {"portRange": {"from": 30000, "to": 30999}},
    "carriers": [{"name": "main", "hosts": ["198.18.1.9"]}],
}
TENANT: dict[str, Any] = {"displayName": "Acme", "regions": ["kyiv"]}


def test_the_files_in_crds_are_what_the_models_say() -> None:
    assert main(["--check", str(ROOT / "crds")]) == 0


def test_a_stale_file_is_noticed(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    next(tmp_path.iterdir()).write_text("old")
    assert main(["--check", str(tmp_path)]) == 1


def test_every_field_is_described() -> None:
    def walk(schema: dict[str, Any], path: str) -> list[str]:
        missing = [] if schema.get("description") or path.endswith("[]") else [path]
        for name, sub in schema.get("properties", {}).items():
            missing += walk(sub, f"{path}.{name}")
        if "items" in schema and "properties" in schema["items"]:
            missing += walk(schema["items"], f"{path}[]")
        return missing

    for item in all_crds().values():
        schema = item["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for part in ("spec", "status"):
            assert walk(schema["properties"][part], part) == []


def test_defaults() -> None:
    spec = a_tenant().spec
    assert (spec.app.replicas, spec.database.instances, spec.database.storage.size) == (2, 3, "1Gi")
    region = VoiceRegion.model_validate({"metadata": {"name": "kyiv", "uid": "1"}, "spec": REGION})
    assert region.spec.failover.advert_milliseconds == 100


def test_sizes() -> None:
    assert storage_bytes("1Gi") == storage_bytes("1024Mi") == 2**30
    assert [storage_size(2**30), storage_size(2**40), storage_size(1500 * 2**20), storage_size(2**20 + 1)] == [
        "1Gi",
        "1Ti",
        "1500Mi",
        "2Mi",
    ]


@pytest.mark.parametrize(
    ("model", "spec", "field"),
    [
        (Tenant, {**TENANT, "numbers": [{"number": "1", "queue": "q"}]}, "spec.numbers.0.number"),
        (Tenant, {**TENANT, "numbers": [{"number": "+380441234567", "queue": "q"}] * 2}, "spec.numbers"),
        (Tenant, {**TENANT, "backup": {"landlines": ["7654321"]}}, "spec.backup.landlines.0"),
        (Tenant, {**TENANT, "backup": {"landlines": ["+380447654321"] * 2}}, "spec.backup.landlines"),
        (Tenant, {**TENANT, "regions": ["a", "a"]}, "spec.regions"),
        (Tenant, {**TENANT, "colour": "red"}, "spec.colour"),
        (Tenant, {**TENANT, "database": {"storage": {"size": "1GB"}}}, "spec.database.storage.size"),
        (VoiceRegion, {**REGION, "domain": "UPPER"}, "spec.domain"),
        (VoiceRegion, {**REGION, "failover": {"advertInterval": "5s"}}, "spec.failover.advertInterval"),
        (VoiceRegion, {**REGION, "media": {"portRange": {"from": 30001, "to": 31999}}}, "spec.media.portRange"),
        (VoiceRegion, {**REGION, "media": {**REGION["media"], "maxCalls": 251}}, "spec.media"),
        (VoiceRegion, {**REGION, "media": {**REGION["media"], "maxCalls": 0}}, "spec.media.maxCalls"),
        (VoiceRegion, {**REGION, "addresses": {**REGION["addresses"], "sip": "198.18.1.2"}}, "spec.addresses"),
    ],
)
def test_an_impossible_spec_is_refused_with_the_field(model: Any, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        parse(model, {"metadata": {"name": "x", "uid": "1"}, "spec": spec})
    assert caught.value.field_path == field


def test_the_status_the_operator_writes_fits_its_schema() -> None:
    TenantStatus.model_validate(
        {
            "namespace": "tenant-acme",
            "hosts": ["acme.kyiv.okitoki.test"],
            "database": {"primary": "postgres-0", "members": "3/3"},
            "app": {"replicas": "2/2"},
            "numbers": 1,
            "observedGeneration": 4,
        }
    )
