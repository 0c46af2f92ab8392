"""Server-side apply against a real API server: no write without a difference, drift, pruning, other managers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import kopf
import pytest
from api.world import CountingClient

from okitoki.kube import labels
from okitoki.kube import resources as kinds
from okitoki.kube.apply import Memory, apply_all, prunable
from okitoki.kube.client import ApiError
from okitoki.kube.resources import Manifest, ObjectKey

NAMESPACE = "default"
OWNER = {labels.TENANT: "apply-test"}


def service(name: str = "one", **spec: object) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels.owned("app", tenant="apply-test")},
        "spec": {"selector": {"a": "b"}, "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}], **spec},
    }


@pytest.fixture
async def client(connection: kopf.ConnectionInfo) -> AsyncIterator[CountingClient]:
    async with CountingClient(connection) as found:
        yield found
        for kind in (kinds.SERVICE, kinds.SECRET, kinds.CONFIG_MAP):
            for item in await found.list(kind, NAMESPACE):
                if item["metadata"]["name"] != "kubernetes":
                    await found.delete(kind, item["metadata"]["name"], NAMESPACE)


async def live(client: CountingClient) -> dict[ObjectKey, Manifest]:
    found: dict[ObjectKey, Manifest] = {}
    for kind in (kinds.SERVICE, kinds.SECRET, kinds.CONFIG_MAP):
        found |= {ObjectKey.of(item): item for item in await client.list(kind, NAMESPACE)}
    return found


async def bring(client: CountingClient, *wanted: Manifest) -> list[str]:
    """Apply and prune; the writes it took."""
    client.writes.clear()
    now = await live(client)
    await apply_all(client, wanted, now, prunable(now, ["Service", "Secret", "ConfigMap"], OWNER), Memory())
    return list(client.writes)


async def test_what_is_as_wanted_costs_no_write(client: CountingClient) -> None:
    assert len(await bring(client, service())) == 1
    assert await bring(client, service()) == []


async def test_a_changed_value_is_set_back_and_what_others_added_stays(client: CountingClient) -> None:
    await bring(client, service())
    drift = {"metadata": {"labels": {"theirs": "x"}}, "spec": {"selector": {"a": "changed"}}}
    await client.request(
        "PATCH",
        kinds.SERVICE.path(NAMESPACE, "one"),
        body=drift,
        params={"fieldManager": "somebody"},
        content_type="application/merge-patch+json",
    )
    assert len(await bring(client, service())) == 1
    found = await client.get(kinds.SERVICE, "one", NAMESPACE)
    assert found is not None
    assert found["spec"]["selector"] == {"a": "b"}
    assert found["metadata"]["labels"]["theirs"] == "x"
    assert await bring(client, service()) == []


async def test_a_field_that_is_no_longer_wanted_goes(client: CountingClient) -> None:
    await bring(client, service(externalName="x.example"))
    await bring(client, service())
    found = await client.get(kinds.SERVICE, "one", NAMESPACE)
    assert found is not None
    assert "externalName" not in found["spec"]


async def test_another_managers_field_is_taken_only_with_force(client: CountingClient) -> None:
    theirs = service()
    await client.request(
        "PATCH",
        kinds.SERVICE.path(NAMESPACE, "one"),
        body=theirs,
        params={"fieldManager": "somebody", "force": "true"},
        content_type="application/apply-patch+yaml",
    )
    with pytest.raises(ApiError) as caught:
        await client.apply(service(selector={"a": "ours"}), force=False)
    assert caught.value.status == 409
    assert "somebody" in caught.value.message
    await bring(client, service(selector={"a": "ours"}))
    found = await client.get(kinds.SERVICE, "one", NAMESPACE)
    assert found is not None
    assert found["spec"]["selector"] == {"a": "ours"}


async def test_a_port_that_somebody_gave_another_number_is_set_back(client: CountingClient) -> None:
    """Apply alone is refused: both ports have our port's name."""
    await bring(client, service(clusterIP="None"))
    await client.request(
        "PATCH",
        kinds.SERVICE.path(NAMESPACE, "one"),
        body={"metadata": {"labels": {"theirs": "x"}}, "spec": {"ports": [{"name": "https", "port": 9443}]}},
        params={"fieldManager": "kubectl-edit"},
        content_type="application/merge-patch+json",
    )
    await bring(client, service(clusterIP="None"))
    found = await client.get(kinds.SERVICE, "one", NAMESPACE)
    assert found is not None
    assert [(port["name"], port["port"]) for port in found["spec"]["ports"]] == [("https", 8443)]
    assert found["metadata"]["labels"]["theirs"] == "x"
    assert await bring(client, service(clusterIP="None")) == []
    # What was written whole is still given up once it is no longer wanted.
    await bring(client, service(clusterIP="None", ports=[{"name": "sip", "port": 5060, "protocol": "TCP"}]))
    found = await client.get(kinds.SERVICE, "one", NAMESPACE)
    assert found is not None
    assert [port["name"] for port in found["spec"]["ports"]] == ["sip"]


async def test_what_is_refused_for_itself_is_refused_with_its_own_reason(client: CountingClient) -> None:
    await bring(client, service())
    before = await client.get(kinds.SERVICE, "one", NAMESPACE)
    bad = service(ports=[{"name": "https", "port": 70000, "protocol": "TCP"}])
    result = await apply_all(client, [bad], await live(client), [], Memory())
    assert "70000" in next(iter(result.failed.values()))
    assert await client.get(kinds.SERVICE, "one", NAMESPACE) == before


async def test_pruning_removes_what_is_ours_and_nothing_else(client: CountingClient) -> None:
    patroni = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "postgres-leader",
            "namespace": NAMESPACE,
            "labels": {**OWNER, "cluster-name": "postgres"},
        },
    }
    await client.create(patroni)
    neighbour = service("neighbour")
    neighbour["metadata"]["labels"][labels.TENANT] = "another"
    await client.create(neighbour)
    await bring(client, service("one"), service("two"))
    assert await bring(client, service("two")) == [f"DELETE /api/v1/namespaces/{NAMESPACE}/services/one"]
    assert {"two", "neighbour", "kubernetes"} == {
        item["metadata"]["name"] for item in await client.list(kinds.SERVICE, NAMESPACE)
    }
    assert await client.get(kinds.CONFIG_MAP, "postgres-leader", NAMESPACE)


async def test_a_secret_made_by_another_meanwhile_is_not_overwritten(client: CountingClient) -> None:
    secret: Manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "password", "namespace": NAMESPACE, "labels": labels.owned("app", tenant="apply-test")},
        "data": {"key": "b25l"},
    }
    stale = await live(client)
    await client.create({**secret, "data": {"key": "dHdv"}})
    with pytest.raises(ApiError) as caught:
        await apply_all(client, [secret], stale, [], Memory())
    assert caught.value.status == 409
    found = await client.get(kinds.SECRET, "password", NAMESPACE)
    assert found is not None
    assert found["data"] == {"key": "dHdv"}


async def test_one_refused_object_does_not_stop_the_others(client: CountingClient) -> None:
    bad = service("bad", ports=[{"name": "https", "port": 70000}])
    result = await apply_all(client, [bad, service("good")], await live(client), [], Memory())
    assert [key.name for key in result.written] == ["good"]
    assert {key.name for key in result.failed} == {"bad"}
    assert "70000" in next(iter(result.failed.values()))
