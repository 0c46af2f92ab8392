"""The platform on the local kind cluster, with a region and tenants of the tests' own beside whatever the demo runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from okitoki_chaos.cluster import require_local
from okitoki_local.demo import layout, platform, stage, waiting
from okitoki_local.environment import Environment

MANIFESTS = Path(__file__).parent / "manifests"
READY_SECONDS = 900.0
GONE_SECONDS = "300s"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(1800))
    # It removes the region that all others use.
    items.sort(key=lambda item: item.path.name == "test_removal.py")


@pytest.fixture(scope="session")
def env() -> Environment:
    """The local cluster; any other kube context is refused."""
    found = Environment.detect()
    require_local(platform.KindCluster(found), found.name)
    return found


@pytest.fixture(scope="session")
def cluster(env: Environment) -> platform.KindCluster:
    return platform.KindCluster(env)


@pytest.fixture(scope="session")
def operator(env: Environment) -> None:
    """CRDs and operator, of the images built last."""
    platform.install(env, platform.image_references(env))


@dataclass(frozen=True)
class Installed:
    """The tests' region and tenants, applied and Ready."""

    env: Environment
    objects: list[layout.Object]
    watcher: waiting.Watcher

    @property
    def region(self) -> str:
        return str(layout.region_of(self.objects)["metadata"]["name"])

    @property
    def region_namespace(self) -> str:
        return f"okitoki-region-{self.region}"

    @property
    def addresses(self) -> list[str]:
        spec = layout.region_of(self.objects)["spec"]["addresses"]
        return [spec["sip"], spec["https"], *spec["media"]]

    @property
    def tenants(self) -> list[layout.TenantPlan]:
        return layout.tenants_of(self.objects)


@pytest.fixture(scope="session")
def installed(env: Environment, operator: None) -> Iterator[Installed]:
    """Applied once for all tests, removed at the end whatever happened."""
    objects = stage.apply_manifests(env, MANIFESTS)
    watcher = waiting.Watcher(env.kubectl, [waiting.title(obj) for obj in objects])
    try:
        watcher.wait(READY_SECONDS)
        yield Installed(env, objects, watcher)
    finally:
        remove(env, objects)


def remove(env: Environment, objects: list[layout.Object]) -> None:
    """Delete resources as a user would, tenants first, and wait until their finalizers are done."""
    for obj in reversed(objects):
        env.kubectl(
            "delete", obj["kind"].lower(), obj["metadata"]["name"], "--ignore-not-found", "--wait",
            f"--timeout={GONE_SECONDS}", timeout=330,
        )  # fmt: skip


def conditions(env: Environment, kind: str, name: str) -> dict[str, dict[str, Any]]:
    """Conditions of a resource by type."""
    found = json.loads(env.kubectl("get", kind, name, "-o", "json"))
    return {one["type"]: one for one in found.get("status", {}).get("conditions", [])}
