"""The chart of the definitions carries crds/ as they are, and uninstalling it deletes no tenant."""

from typing import Any

import yaml

from .conftest import CHARTS, Render

# Beside the definitions lies a kustomization, which is no business of the chart's.
CRDS = sorted((CHARTS.parent / "crds").glob("platform.oki-toki.net_*.yaml"))


def test_the_copies_in_the_chart_are_those_of_the_repository() -> None:
    copies = {path.name: path.read_text() for path in (CHARTS / "okitoki-crds/files").glob("*.yaml")}
    assert copies == {path.name: path.read_text() for path in CRDS}, "run `make crds`"


def test_the_rendered_definitions_are_crds_and_outlive_the_release(render: Render) -> None:
    wanted: dict[str, Any] = {}
    for path in CRDS:
        definition = yaml.safe_load(path.read_text())
        definition["metadata"].setdefault("annotations", {})["helm.sh/resource-policy"] = "keep"
        wanted[definition["metadata"]["name"]] = definition
    found = {item["metadata"]["name"]: item for item in render("okitoki-crds")}
    assert found == wanted
    assert set(found) == {"tenants.platform.oki-toki.net", "voiceregions.platform.oki-toki.net"}
