"""The load chart: restricted pods, workers that reach the master, values that make no sense refused."""

from __future__ import annotations

import pytest

from .conftest import Manifest, Refused, Render, one


@pytest.fixture(scope="module")
def load(render: Render) -> list[Manifest]:
    return render("okitoki-load")


def pod(manifests: list[Manifest], role: str) -> Manifest:
    found: Manifest = one(manifests, "Job", f"release-{role}")["spec"]["template"]
    return found


def test_pods_are_restricted(load: list[Manifest]) -> None:
    """Pod Security Standards, level `restricted`, and a read-only root file system."""
    for role in ("master", "worker"):
        spec = pod(load, role)["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_workers_and_nobody_else_reach_the_master_where_it_listens(load: list[Manifest]) -> None:
    service = one(load, "Service", "release-master")
    labels = pod(load, "master")["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    [container] = pod(load, "master")["spec"]["containers"]
    ports = {port["containerPort"] for port in container["ports"]}
    assert {port["port"] for port in service["spec"]["ports"]} == ports == {5557, 5559}
    [rule] = one(load, "NetworkPolicy", "release")["spec"]["ingress"]
    [peer] = rule["from"]
    selector = peer["podSelector"]["matchLabels"]
    assert selector.items() <= pod(load, "worker")["metadata"]["labels"].items()
    assert not selector.items() <= labels.items()
    assert {port["port"] for port in rule["ports"]} == ports
    [worker] = pod(load, "worker")["spec"]["containers"]
    assert "--master-host=release-master" in worker["args"]


def test_the_master_expects_as_many_workers_as_there_are_and_keeps_what_they_bring(render: Render) -> None:
    manifests = render("okitoki-load", "load.workers=5")
    job = one(manifests, "Job", "release-worker")["spec"]
    assert job["parallelism"] == job["completions"] == 5
    spec = pod(manifests, "master")["spec"]
    assert "--expect-workers=5" in spec["containers"][0]["args"]
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "results"]
    claim = one(manifests, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_key_is_mounted_and_in_no_argument(load: list[Manifest]) -> None:
    for role in ("master", "worker"):
        spec = pod(load, role)["spec"]
        [volume] = [volume for volume in spec["volumes"] if volume["name"] == "key"]
        assert volume["secret"] == {"secretName": "acme-key", "items": [{"key": "key", "path": "key"}]}
        assert "env" not in spec["containers"][0]


def test_with_the_page_nothing_starts_by_itself(render: Render, load: list[Manifest]) -> None:
    [container] = pod(load, "master")["spec"]["containers"]
    assert "--headless" in container["args"]
    [container] = pod(render("okitoki-load", "webUI.enabled=true"), "master")["spec"]["containers"]
    assert "--headless" not in container["args"]
    assert 8089 in {port["containerPort"] for port in container["ports"]}


@pytest.mark.parametrize(
    "setting",
    [
        "target.host=http://acme.kyiv.okitoki.test",
        "target.numbers[0]=044",
        "target.apiKey.secret=",
        "load.workers=0",
        "load.shape=wild",
        "load.colour=red",
        "image=",
    ],
)
def test_wrong_values_are_refused(render: Render, setting: str) -> None:
    with pytest.raises(Refused, match=setting.split("=")[0].split("[")[0].split(".")[-1]):
        render("okitoki-load", setting)
