"""The operator's Deployment: what it is told, what it may not do, where it runs."""

import pytest

from okitoki.kube import names
from okitoki.settings import load_settings

from .conftest import Manifest, Refused, Render, one


def pod_of(manifests: list[Manifest]) -> Manifest:
    spec: Manifest = one(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def test_the_operator_understands_its_environment(operator: list[Manifest]) -> None:
    [container] = pod_of(operator)["containers"]
    environment = {item["name"]: item.get("value", "from-the-pod") for item in container["env"]}
    settings = load_settings(environment)
    assert settings.images.postgres == "registry.example/okitoki/postgres:0.1.0"
    assert settings.images.app == "registry.example/okitoki/app:0.1.0"
    assert settings.images.edge == "registry.example/okitoki/edge:0.1.0"
    assert settings.health_port == container["ports"][0]["containerPort"]
    fields = {
        item["name"]: item["valueFrom"]["fieldRef"]["fieldPath"] for item in container["env"] if "valueFrom" in item
    }
    assert fields == {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
@pytest.mark.parametrize("style", ["plain", "json"])
def test_every_log_setting_of_the_schema_is_one_of_the_operator(render: Render, level: str, style: str) -> None:
    [container] = pod_of(render("okitoki", f"logLevel={level}", f"logFormat={style}"))["containers"]
    settings = load_settings({item["name"]: item.get("value", "x") for item in container["env"]})
    assert (settings.log_level, settings.log_style) == (level, style)


def test_two_replicas_on_different_nodes_if_there_are_two(operator: list[Manifest]) -> None:
    deployment = one(operator, "Deployment")
    assert deployment["spec"]["replicas"] == 2
    [term] = pod_of(operator)["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    selector = term["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"] == selector


def test_pods_are_restricted(operator: list[Manifest]) -> None:
    """Pod Security Standards, level `restricted`, and a read-only root file system."""
    for pod in (pod_of(operator), one(operator, "Pod", "okitoki-operator-test")["spec"]):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
        assert not pod.get("hostNetwork")
        assert all(set(volume) <= {"name", "emptyDir"} for volume in pod.get("volumes", []))


def test_probes_ask_the_operator_itself(operator: list[Manifest]) -> None:
    [container] = pod_of(operator)["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert container["resources"]["requests"]
    assert container["resources"]["limits"]["memory"]


def test_nothing_but_the_kubelet_and_prometheus_reaches_it(operator: list[Manifest], render: Render) -> None:
    policy = one(operator, "NetworkPolicy")
    labels = one(operator, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert [rule["ports"] for rule in policy["spec"]["ingress"]] == [[{"port": "metrics"}]]
    without = render("okitoki", "networkPolicy.enabled=false")
    assert not [item for item in without if item["kind"] == "NetworkPolicy"]


def test_a_drain_is_never_blocked(operator: list[Manifest], render: Render) -> None:
    budget = one(operator, "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert not [item for item in render("okitoki", "replicas=1") if item["kind"] == "PodDisruptionBudget"]


@pytest.mark.parametrize("namespace", ["okitoki-system", "voice"])
def test_it_works_in_a_namespace_of_any_name(render: Render, namespace: str) -> None:
    elsewhere = {"okitoki-operator-events": "default"}
    for item in render("okitoki", namespace=namespace):
        metadata = item["metadata"]
        if not item["kind"].startswith("Cluster"):
            assert metadata["namespace"] == elsewhere.get(metadata["name"], namespace)
        for subject in item.get("subjects", []):
            assert subject["namespace"] == namespace


def test_the_helm_test_looks_at_the_lease_the_operator_takes(operator: list[Manifest]) -> None:
    [container] = one(operator, "Pod", "okitoki-operator-test")["spec"]["containers"]
    assert {"name": "LEASE", "value": names.LEASE_NAME} in container["env"]
    compile(container["command"][2], "test_operator.py", "exec")


@pytest.mark.parametrize("which", ["operator", "app", "postgres", "edge"])
def test_a_missing_image_is_refused_with_the_mend(render: Render, which: str) -> None:
    with pytest.raises(Refused, match=rf"images\.{which} is empty: give the full name of the image"):
        render("okitoki", f"images.{which}=")


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("images.app=okitoki/app", "/images/app"),
        ("images.app=okitoki/app:latest", "/images/app"),
        ("images.app=okitoki/app@sha256:12", "/images/app"),
        ("images.app=has space:1", "/images/app"),
        ("images.redis=x:1", "/images"),
        ("replicas=0", "/replicas"),
        ("replicas=many", "/replicas"),
        ("logLevel=loud", "/logLevel"),
        ("logFormat=xml", "/logFormat"),
        ("imagePullPolicy=Sometimes", "/imagePullPolicy"),
        ("resources.request.cpu=1", "/resources"),
        ("networkPolicy.enabled=perhaps", "/networkPolicy/enabled"),
        ("replicaCount=2", "replicaCount"),
    ],
)
def test_bad_values_are_refused_by_the_name_of_their_field(render: Render, setting: str, field: str) -> None:
    with pytest.raises(Refused, match=field):
        render("okitoki", setting)


@pytest.mark.parametrize(
    "image",
    ["okitoki/app:9c1f", "registry.example:5000/team/okitoki/app:v1.2_3", "okitoki/app@sha256:" + "0f" * 32],
)
def test_full_names_of_images_are_taken(render: Render, image: str) -> None:
    [container] = pod_of(render("okitoki", f"images.app={image}"))["containers"]
    assert {"name": "OKITOKI_IMAGE_APP", "value": image} in container["env"]


def test_placement_and_pull_secrets_reach_the_pods(render: Render) -> None:
    manifests = render(
        "okitoki", "nodeSelector.pool=system", "priorityClassName=high", "imagePullSecrets[0]=registry",
        "tolerations[0].key=system", "tolerations[0].operator=Exists",
    )  # fmt: skip
    pod = pod_of(manifests)
    assert pod["nodeSelector"] == {"pool": "system"}
    assert pod["priorityClassName"] == "high"
    assert {"key": "system", "operator": "Exists"} in pod["tolerations"]
    for holder in (pod, one(manifests, "Pod", "okitoki-operator-test")["spec"]):
        assert holder["imagePullSecrets"] == [{"name": "registry"}]
