"""A tenant is paused and wakes, and is suspended and served again, as its company's clients see it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cluster.conftest import Installed, conditions, remove
from cluster.test_lifecycle import tenant
from cluster.test_retention import sql
from okitoki_chaos.world import OPERATOR
from okitoki_local.demo import layout, platform, waiting
from okitoki_local.environment import Environment
from okitoki_local.system import wait_until

NAME = "sleeper"
NAMESPACE = f"tenant-{NAME}"
SECONDS = 300


@pytest.fixture(scope="module")
def made(env: Environment, installed: Installed) -> Iterator[layout.Object]:
    """A tenant with one row that was acknowledged."""
    made = tenant(NAME)
    try:
        become(env, "Active")
        sql(env, "CREATE TABLE proof (word text)", NAMESPACE)
        sql(env, "INSERT INTO proof VALUES ('acknowledged')", NAMESPACE)
        yield made
    finally:
        remove(env, [made])


@pytest.fixture
def sleeper(env: Environment, made: layout.Object) -> layout.Object:
    """The tenant, Ready."""
    become(env, "Active")
    return made


def become(env: Environment, state: str) -> None:
    """Ask for a state and wait until it is reached."""
    platform.apply(env, [tenant(NAME, state=state)])
    waiting.Watcher(env.kubectl, [f"tenant {NAME}"]).wait(600)
    assert conditions(env, "tenant", NAME)["Ready"]["reason"] == {"Active": "Ready"}.get(state, state)


def pods(env: Environment) -> list[str]:
    return env.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name").split()


def history(env: Environment) -> list[str]:
    """Patroni's store: who may lead, and the cluster's identity."""
    maps = json.loads(env.kubectl("get", "configmaps", "-n", NAMESPACE, "-l", "cluster-name=postgres", "-o", "json"))
    found = {one["metadata"]["name"]: one["metadata"].get("annotations") or {} for one in maps["items"]}
    return [found["postgres-config"]["initialize"], found["postgres-sync"].get("sync_standby", "")]


def test_a_paused_tenant_has_no_pod_and_wakes_whole_with_the_same_data(
    env: Environment, sleeper: layout.Object
) -> None:
    identity, _ = history(env)
    become(env, "Paused")
    assert pods(env) == []
    claims = env.kubectl("get", "pvc", "-n", NAMESPACE, "-o", "name").split()
    assert len(claims) == sleeper["spec"]["database"]["instances"]
    slept, standbys = history(env)
    assert slept == identity
    assert standbys, "only the old primary could lead: a lost volume would keep the tenant asleep"
    become(env, "Active")
    assert sql(env, "SELECT word FROM proof LIMIT 1", NAMESPACE) == "acknowledged"
    assert history(env)[0] == identity


def test_paused_in_the_middle_of_a_failover_it_sleeps_and_wakes_with_every_acknowledged_write(
    env: Environment, sleeper: layout.Object
) -> None:
    sql(env, "INSERT INTO proof VALUES ('just before')", NAMESPACE)
    env.kubectl("delete", "pod", "-n", NAMESPACE, "-l", "role=primary", "--force", "--grace-period=0")
    become(env, "Paused")
    assert pods(env) == []
    become(env, "Active")
    assert sql(env, "SELECT count(*) FROM proof WHERE word = 'just before'", NAMESPACE) == "1"


def test_a_change_of_mind_half_way_leaves_a_whole_tenant(env: Environment, sleeper: layout.Object) -> None:
    platform.apply(env, [tenant(NAME, state="Paused")])
    wait_until(
        "the database to stop",
        lambda: env.kubectl("get", "sts", "postgres", "-n", NAMESPACE, "-o", "jsonpath={.spec.replicas}") == "0",
        SECONDS,
    )
    become(env, "Active")
    assert sql(env, "SELECT word FROM proof LIMIT 1", NAMESPACE) == "acknowledged"


def test_the_operators_killed_during_a_pause_finish_it(env: Environment, sleeper: layout.Object) -> None:
    platform.apply(env, [tenant(NAME, state="Paused")])
    of_operators = ("pods", "-n", platform.SYSTEM_NAMESPACE, "-l", OPERATOR)
    killed = env.kubectl("delete", *of_operators, "--force", "--grace-period=0").count("force deleted")
    assert killed == 2
    become(env, "Paused")
    assert pods(env) == []


@pytest.mark.parametrize(
    ("state", "status", "code"), [("Suspended", "403", "tenant_suspended"), ("Paused", "503", "tenant_paused")]
)
def test_requests_for_a_tenant_that_is_not_served_are_refused_in_words(
    env: Environment, installed: Installed, sleeper: layout.Object, state: str, status: str, code: str
) -> None:
    domain = layout.region_of(installed.objects)["spec"]["domain"]
    https = layout.region_of(installed.objects)["spec"]["addresses"]["https"]
    node = next(node for node in env.nodes() if node.endswith("control-plane"))

    def asked() -> str:
        return env.docker(
            "exec", node, "curl", "-sk", "-w", " %{http_code}", "--max-time", "10",
            "--resolve", f"{NAME}.{domain}:443:{https}", f"https://{NAME}.{domain}/v1/agents",
        )  # fmt: skip

    become(env, state)
    wait_until("the refusal", lambda: code in asked() and asked().endswith(status), SECONDS)
    become(env, "Active")
    wait_until("the app itself again", lambda: asked().endswith("401"), SECONDS)
