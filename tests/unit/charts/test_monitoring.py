"""Metrics in the chart: rules and dashboards name only what the operator has, and reach what they are meant for."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from okitoki.metrics.domain import LABELS, Series
from okitoki.metrics.process import REGISTRY, QueueWatch
from okitoki.settings import load_settings

from .conftest import CHARTS, Manifest, Refused, Render, one

CHART = CHARTS / "okitoki"
ALL_ON = (
    "metrics.serviceMonitor.enabled=true",
    "metrics.rules.enabled=true",
    "metrics.dashboards.enabled=true",
    "metrics.scrapeAnnotations=true",
)
WORDS = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
PROMQL = {
    "sum",
    "min",
    "max",
    "count",
    "by",
    "on",
    "and",
    "or",
    "increase",
    "rate",
    "time",
    "vector",
    "histogram_quantile",
}
PARTS = re.compile(r'"[^"]*"|\$\{?\w+\}?|\[[0-9a-z]+\]')
"""Of an expression: strings, Grafana's variables, ranges."""
BOUNDED = {*LABELS.values(), "address", "host", "kind", "name"}
"""Labels of the platform's metrics: resources and what belongs to them."""


def families() -> dict[str, set[str]]:
    """Every series that the operator may have, with its labels."""
    registry = CollectorRegistry()
    registry.register(Series())
    registry.register(QueueWatch(str))
    found: dict[str, set[str]] = {}
    for metric in [*registry.collect(), *REGISTRY.collect()]:
        labels = set(getattr(metric, "_labelnames", ()))
        names = {"counter": [f"{metric.name}_total"], "histogram": [f"{metric.name}_{s}" for s in ("bucket", "sum")]}
        for name in names.get(metric.type, [metric.name]):
            found[name] = labels
    return found


def expressions() -> dict[str, str]:
    """Every expression of the chart by where it is."""
    found = {}
    for group in yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"]:
        found.update({rule["alert"]: rule["expr"] for rule in group["rules"]})
    for path in sorted((CHART / "files/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                found[f"{path.name}: {panel['title']} {target['refId']}"] = target["expr"]
    return found


def unknown_words(expression: str, known: set[str]) -> set[str]:
    """Words of an expression that are neither PromQL nor a metric nor a label."""
    labels = {*BOUNDED, "controller", "result", "le", "code", "method", "job"}
    text = re.sub(r"\b[0-9][0-9.]*\b", " ", PARTS.sub(" ", expression))
    return set(WORDS.findall(text)) - PROMQL - labels - known


@pytest.mark.parametrize(("where", "expression"), expressions().items())
def test_every_metric_that_is_named_exists(where: str, expression: str) -> None:
    assert unknown_words(expression, set(families())) == set()


def test_a_legend_names_labels_that_its_expression_keeps() -> None:
    for path in sorted((CHART / "files/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
                assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept, panel["title"]


def test_a_metric_that_does_not_exist_would_be_found() -> None:
    assert unknown_words("max(okitoki_tenant_redy) == 0", set(families())) == {"okitoki_tenant_redy"}


def test_every_alert_has_a_severity_a_summary_and_a_paragraph_in_the_docs() -> None:
    document = (CHARTS.parent / "docs/observability.md").read_text()
    for group in yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
            assert rule["annotations"]["summary"], rule["alert"]
            assert f"`{rule['alert']}`" in document


def test_every_metric_of_the_platform_is_in_the_docs() -> None:
    document = (CHARTS.parent / "docs/observability.md").read_text()
    names = {name.removesuffix("_bucket").removesuffix("_sum") for name in families()}
    assert {name for name in names if f"`{name}`" not in document} == set()


def test_labels_are_bounded() -> None:
    registry = CollectorRegistry()
    series = Series()
    registry.register(series)
    series.put(("VoiceRegion", "kyiv"), {"okitoki_region_address_holders": {"sip": 1.0}})
    series.put(("Authority", "okitoki-ca"), {"okitoki_certificate_expiry_seconds": 1.0})
    for metric in registry.collect():
        for sample in metric.samples:
            assert set(sample.labels) <= BOUNDED


def test_every_replica_is_scraped_at_the_port_where_it_serves(render: Render) -> None:
    manifests = render("okitoki", *ALL_ON)
    pod = one(manifests, "Deployment")["spec"]["template"]
    [container] = pod["spec"]["containers"]
    settings = load_settings({item["name"]: item.get("value", "x") for item in container["env"]})
    assert {"name": "metrics", "containerPort": settings.metrics_port} in container["ports"]
    service = one(manifests, "Service")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    [port] = service["spec"]["ports"]
    assert (port["name"], port["port"], port["targetPort"]) == ("metrics", settings.metrics_port, "metrics")
    assert service["metadata"]["annotations"]["prometheus.io/port"] == str(settings.metrics_port)
    monitor = one(manifests, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"] == [{"port": "metrics", "interval": "30s"}]


def test_rules_and_dashboards_arrive_as_they_are_in_the_files(render: Render) -> None:
    manifests = render("okitoki", *ALL_ON, "metrics.rules.labels.release=prometheus")
    rule = one(manifests, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "files/alerts.yaml").read_text())
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    dashboards = one(manifests, "ConfigMap", "okitoki-operator-dashboards")
    assert dashboards["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text) for name, text in dashboards["data"].items()} == {
        path.name: json.loads(path.read_text()) for path in (CHART / "files/dashboards").glob("*.json")
    }


def test_nothing_that_needs_other_definitions_comes_unasked(operator: list[Manifest]) -> None:
    assert not {item["kind"] for item in operator} & {"ServiceMonitor", "PrometheusRule"}
    assert "annotations" not in one(operator, "Service")["metadata"]


def test_without_metrics_nothing_of_them_is_made_and_nobody_reaches_the_port(render: Render) -> None:
    manifests = render("okitoki", *ALL_ON, "metrics.enabled=false")
    kinds = {item["kind"] for item in manifests}
    assert not kinds & {"Service", "ServiceMonitor", "PrometheusRule"}
    assert "ingress" not in one(manifests, "NetworkPolicy")["spec"]


def test_only_the_named_peers_read_the_metrics(render: Render) -> None:
    [everybody] = one(render("okitoki"), "NetworkPolicy")["spec"]["ingress"]
    assert everybody == {"ports": [{"port": "metrics"}]}
    settings = ("networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring",)
    [rule] = one(render("okitoki", *settings), "NetworkPolicy")["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]


@pytest.mark.parametrize(
    "setting", ["metrics.serviceMonitor.interval=often", "metrics.rules.severity=high", "metrics.port=1"]
)
def test_values_that_mean_nothing_are_refused(render: Render, setting: str) -> None:
    with pytest.raises(Refused, match="metrics"):
        render("okitoki", setting)


def test_panels_do_not_overlap() -> None:
    dashboard: dict[str, Any] = json.loads((CHART / "files/dashboards/okitoki.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
