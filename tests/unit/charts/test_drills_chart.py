"""The drills' chart: an agent only where somebody opted in, rights that are listed here, a Job whose result is the
verdict, and values that make no sense refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from okitoki_chaos import agent, cluster_journal
from okitoki_chaos.session import Settings
from okitoki_chaos.staging.config import Config

from .conftest import Manifest, Refused, Render, one

Right = tuple[str, str, str]
"""`resource` or `resource:name`, verb, namespace (empty: everywhere)."""
EVERY = ("allow.drain=true", "allow.volumes=true", "allow.operators=true", "allow.exec=true")
CHART = "okitoki-drills"


@pytest.fixture(scope="module")
def drills(render: Render) -> list[Manifest]:
    return render(CHART)


def pod_of(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    spec = one(manifests, kind, name)["spec"]
    found: Manifest = (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]
    return found


def rights(manifests: list[Manifest], account: str) -> set[Right]:
    """All rights that an account's bindings give."""
    roles = {
        (item["kind"], item["metadata"]["name"], item["metadata"].get("namespace", "")): item["rules"]
        for item in manifests if item["kind"] in {"Role", "ClusterRole"}
    }  # fmt: skip

    def given() -> Iterator[Right]:
        for item in manifests:
            if not item["kind"].endswith("Binding"):
                continue
            assert item["subjects"] == [
                {"kind": "ServiceAccount", "name": item["subjects"][0]["name"], "namespace": "somewhere"}
            ]
            if item["subjects"][0]["name"] != account:
                continue
            namespace = item["metadata"].get("namespace", "")
            for rule in roles[item["roleRef"]["kind"], item["roleRef"]["name"], namespace]:
                for resource in rule["resources"]:
                    for name in rule.get("resourceNames", [""]):
                        for verb in rule["verbs"]:
                            yield f"{resource}:{name}" if name else resource, verb, namespace

    return set(given())


def expand(*lines: str) -> set[Right]:
    """`NAMESPACE RESOURCE VERB,VERB` each; `*` for everywhere."""
    found = set()
    for line in lines:
        namespace, resource, verbs = line.split()
        found |= {(resource, verb, "" if namespace == "*" else namespace) for verb in verbs.split(",")}
    return found


LEAST = expand(
    "* tenants get,list,watch",
    "* voiceregions get,list,watch",
    "* namespaces list",
    "* nodes get,list",
    "* pods get,list,watch",
    *(f"* configmaps:postgres-{name} get,list,watch" for name in ("config", "leader", "sync")),
    "somewhere pods get,list",
    "somewhere pods/exec create",
    "somewhere configmaps:okitoki-drill-journal get,patch",
    *(
        f"tenant-{name} {right}" for name in ("acme", "globex")
        for right in ("pods delete", "services list", "persistentvolumeclaims get",
                      "deployments get,list,watch,patch", "statefulsets get,list,watch,patch")
    ),
    "okitoki-region-kyiv pods delete",
    "okitoki-region-kyiv services list",
    "okitoki-region-kyiv statefulsets get,list,watch,patch",
    "okitoki-system leases create",
    "okitoki-system leases:okitoki-drill get,patch,delete",
    "okitoki-system leases:okitoki-operator get",
    "okitoki-system deployments:okitoki-operator get",
    "default events create",
    "default services:kubernetes get",
)  # fmt: skip
MORE = {
    "drain": expand("* nodes patch", "* pods/eviction create", "* daemonsets get"),
    "volumes": expand("tenant-acme persistentvolumeclaims delete", "tenant-globex persistentvolumeclaims delete"),
    "operators": expand(
        "okitoki-system pods delete", "okitoki-system deployments get,list,watch",
        "okitoki-system deployments:okitoki-operator patch",
        "okitoki-system deployments/scale:okitoki-operator get,patch",
    ),
    "exec": expand("tenant-acme pods/exec create", "tenant-globex pods/exec create"),
}  # fmt: skip


def test_the_drills_rights_are_these_and_no_others(drills: list[Manifest]) -> None:
    assert rights(drills, "release-drill") == LEAST


@pytest.mark.parametrize("right", sorted(MORE))
def test_each_further_right_is_what_its_value_says(render: Render, right: str) -> None:
    found = rights(render(CHART, f"allow.{right}=true"), "release-drill")
    assert found - LEAST == MORE[right]
    assert found >= LEAST


def test_the_watchdog_can_undo_and_do_nothing_else(render: Render, drills: list[Manifest]) -> None:
    least = expand(
        "* nodes get,list", *(f"* configmaps:postgres-{name} get,list,watch" for name in ("config", "leader", "sync")),
        "somewhere pods get,list", "somewhere pods/exec create", "somewhere configmaps:okitoki-drill-journal get,patch",
    )  # fmt: skip
    assert rights(drills, "release-watchdog") == least
    more = rights(render(CHART, *EVERY), "release-watchdog") - least
    assert more == expand(
        "* nodes patch", "okitoki-system deployments get,list,watch",
        "okitoki-system deployments:okitoki-operator get,patch",
        "okitoki-system deployments/scale:okitoki-operator get,patch",
        *(f"tenant-{name} {right}" for name in ("acme", "globex") for right in ("pods get", "pods/exec create")),
    )  # fmt: skip


def test_nobody_can_exec_into_a_region_escalate_or_use_wildcards(render: Render) -> None:
    manifests = render(CHART, *EVERY)
    for account in ("release-drill", "release-watchdog"):
        for resource, verb, namespace in rights(manifests, account):
            assert "*" not in (resource, verb)
            assert verb not in {"escalate", "bind", "impersonate"}
            assert "secrets" not in resource
            assert resource != "pods/exec" or namespace.startswith(("tenant-", "somewhere"))


def test_the_agent_is_only_on_nodes_that_opted_in_and_has_no_token(drills: list[Manifest]) -> None:
    spec = pod_of(drills, "DaemonSet", "okitoki-chaos-agent")["spec"]
    key, _, value = agent.NODE_LABEL.partition("=")
    assert spec["nodeSelector"] == {key: value}
    assert spec["hostPID"] is spec["hostNetwork"] is True
    assert spec["automountServiceAccountToken"] is False
    assert "volumes" not in spec  # nothing of the node's disk is mounted
    [container] = spec["containers"]
    assert container["name"] == agent.CONTAINER
    assert container["securityContext"]["privileged"] is True
    assert "ports" not in container


def test_drills_find_agents_and_watchdogs_by_their_labels(drills: list[Manifest]) -> None:
    for kind, name, selector in (
        ("DaemonSet", "okitoki-chaos-agent", agent.AGENT), ("Deployment", "release-watchdog", agent.WATCHDOG),
    ):  # fmt: skip
        key, _, value = selector.partition("=")
        labels = pod_of(drills, kind, name)["metadata"]["labels"]
        assert labels[key] == value
        assert labels["app.kubernetes.io/part-of"] != "okitoki"  # else a drill would wait for them to be whole


def test_without_the_agent_nothing_is_privileged(render: Render) -> None:
    manifests = render(CHART, "agent.enabled=false")
    assert not [item for item in manifests if item["kind"] == "DaemonSet"]
    assert "privileged" not in json.dumps(manifests)


@pytest.mark.parametrize(("kind", "name"), [("CronJob", "release-drill"), ("Deployment", "release-watchdog")])
def test_drill_and_watchdog_are_restricted(drills: list[Manifest], kind: str, name: str) -> None:
    spec = pod_of(drills, kind, name)["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip


def test_a_watchdog_is_on_another_node_than_any_one_target_and_the_drill_is_never_kept_from_its_claim(
    drills: list[Manifest],
) -> None:
    """Seen on a cluster: a watchdog that had come to the node of the drill's claim kept the drill waiting for ever."""
    assert one(drills, "Deployment", "release-watchdog")["spec"]["replicas"] == 2
    affinity = pod_of(drills, "Deployment", "release-watchdog")["spec"]["affinity"]["podAntiAffinity"]
    [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    labels = pod_of(drills, "Deployment", "release-watchdog")["metadata"]["labels"]
    assert term["labelSelector"]["matchLabels"].items() <= labels.items()
    assert term["topologyKey"] == "kubernetes.io/hostname"
    [preferred] = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    drill = pod_of(drills, "CronJob", "release-drill")["metadata"]["labels"]
    assert preferred["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= drill.items()
    key, _, value = agent.NODE_LABEL.partition("=")
    away = {"key": key, "operator": "NotIn", "values": [value]}
    for kind, name in (("Deployment", "release-watchdog"), ("CronJob", "release-drill")):
        affinity = pod_of(drills, kind, name)["spec"]["affinity"]
        [preferred] = affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert preferred["preference"]["matchExpressions"] == [away]


def test_drills_wait_until_somebody_wants_them_and_never_run_two_at_once(drills: list[Manifest]) -> None:
    spec = one(drills, "CronJob", "release-drill")["spec"]
    assert spec["suspend"] is True
    assert spec["concurrencyPolicy"] == "Forbid"


def test_a_verdict_is_final_and_a_lost_pod_is_followed_by_one_that_goes_on(drills: list[Manifest]) -> None:
    job = one(drills, "CronJob", "release-drill")["spec"]["jobTemplate"]["spec"]
    verdict, lost = job["podFailurePolicy"]["rules"]
    assert verdict == {
        "action": "FailJob", "onExitCodes": {"containerName": "drill", "operator": "In", "values": [1, 2]},
    }  # fmt: skip
    assert lost == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert job["backoffLimit"] > 0
    spec = job["template"]["spec"]
    assert spec["restartPolicy"] == "Never"
    [results] = [one for one in spec["volumes"] if one["name"] == "results"]
    claim = one(drills, "PersistentVolumeClaim", results["persistentVolumeClaim"]["claimName"])
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_journal_outlives_the_release_and_an_upgrade(drills: list[Manifest]) -> None:
    journal = one(drills, "ConfigMap", cluster_journal.NAME)
    assert "data" not in journal
    assert journal["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_what_the_chart_writes_is_what_drill_and_watchdog_read(render: Render, tmp_path: Path) -> None:
    data = one(render(CHART, "allow.drain=true", "drill.seed=7"), "ConfigMap", "release-config")["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    config = Config.read(tmp_path / "drill.json")
    assert (config.namespace, config.seed, config.allow, config.regions) == ("somewhere", 7, ["drain"], ["kyiv"])
    assert [tenant.key_file for tenant in config.tenants] == ["/keys/acme/key", "/keys/globex/key"]
    settings = Settings.read(tmp_path)
    assert (settings.driver, settings.namespace, settings.allow) == ("agent", "somewhere", ["drain"])


def test_kubectl_is_told_of_the_pods_own_account(drills: list[Manifest]) -> None:
    """Seen on a cluster: with a time limit for requests kubectl does not look for it by itself."""
    text = one(drills, "ConfigMap", "release-config")["data"]["kubeconfig"]
    assert json.loads(text)["users"][0]["user"] == {"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}
    for kind, name in (("CronJob", "release-drill"), ("Deployment", "release-watchdog")):
        [container] = pod_of(drills, kind, name)["spec"]["containers"]
        [config] = [mount for mount in container["volumeMounts"] if mount["name"] == "config"]
        assert {"name": "KUBECONFIG", "value": f"{config['mountPath']}/kubeconfig"} in container["env"]


def test_keys_are_mounted_and_in_no_argument_or_configuration(drills: list[Manifest]) -> None:
    spec = pod_of(drills, "CronJob", "release-drill")["spec"]
    secrets = {volume["name"]: volume["secret"] for volume in spec["volumes"] if "secret" in volume}
    assert secrets == {
        "key-acme": {"secretName": "acme-key", "items": [{"key": "key", "path": "key"}]},
        "key-globex": {"secretName": "globex-key", "items": [{"key": "token", "path": "key"}]},
    }


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("image=", "image"),
        ("tenants=null", "tenants"),
        ("regions[0]=Kyiv", "regions"),
        ("tenants[0].host=https://acme.kyiv.okitoki.test", "host"),
        ("tenants[0].numbers[0]=044", "numbers"),
        ("drill.times=sometimes", "times"),
        ("schedule=daily", "schedule"),
        ("allow.everything=true", "everything"),
        ("agent.nodeSelector=null", "nodeSelector"),
    ],
)
def test_wrong_values_are_refused(render: Render, setting: str, named: str) -> None:
    with pytest.raises(Refused, match=named):
        render(CHART, setting)
