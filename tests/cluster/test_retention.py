"""Data outlive their Tenant, and are there again for the one that adopts them."""

from __future__ import annotations

import json

from cluster.conftest import Installed, conditions, remove
from cluster.test_lifecycle import tenant
from okitoki_local.demo import platform, waiting
from okitoki_local.environment import Environment
from okitoki_local.system import wait_until

NAMESPACE = "tenant-lazarus"
RETAINED = "platform.oki-toki.net/retained"


def api_key(env: Environment) -> str:
    return env.kubectl("get", "secret", "api-admin", "-n", NAMESPACE, "-o", "jsonpath={.data.key}")


def sql(env: Environment, statement: str, namespace: str = NAMESPACE) -> str:
    """On the primary, as the superuser."""
    primary = env.kubectl("get", "pods", "-n", namespace, "-l", "role=primary", "-o", "name").strip()
    return env.kubectl(
        "exec", "-n", namespace, primary, "-c", "postgres", "--",
        "psql", "-U", "postgres", "-d", "callcentre", "-Atc", statement,
    ).strip()  # fmt: skip


def test_a_deleted_tenants_data_are_there_for_the_one_that_adopts_them_and_for_no_other(
    env: Environment, installed: Installed
) -> None:
    first = tenant("lazarus", deletionPolicy="Retain")
    title = waiting.title(first)
    try:
        platform.apply(env, [first])
        waiting.Watcher(env.kubectl, [title]).wait(600)
        uid = json.loads(env.kubectl("get", "tenant", "lazarus", "-o", "json"))["metadata"]["uid"]
        sql(env, "CREATE TABLE proof (word text)")
        sql(env, "INSERT INTO proof VALUES ('acknowledged')")
        key, system = api_key(env), sql(env, "SELECT system_identifier FROM pg_control_system()")

        remove(env, [first])
        assert env.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name") == ""
        claims = env.kubectl("get", "pvc", "-n", NAMESPACE, "-o", "name").split()
        assert len(claims) == first["spec"]["database"]["instances"]
        assert NAMESPACE in env.kubectl("get", "namespaces", "-l", RETAINED, "-o", "name")

        platform.apply(env, [first])
        wait_until(
            "the refusal to open the data",
            lambda: conditions(env, "tenant", "lazarus").get("Ready", {}).get("reason") == "DataRetained",
            60,
        )
        assert env.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name") == ""

        database = {**first["spec"]["database"], "adopt": uid}
        platform.apply(env, [tenant("lazarus", deletionPolicy="Delete", database=database)])
        waiting.Watcher(env.kubectl, [title]).wait(600)
        assert sql(env, "SELECT word FROM proof") == "acknowledged"
        assert sql(env, "SELECT system_identifier FROM pg_control_system()") == system
        assert api_key(env) == key
        assert NAMESPACE not in env.kubectl("get", "namespaces", "-l", RETAINED, "-o", "name")
    finally:
        platform.apply(env, [tenant("lazarus", deletionPolicy="Delete")])
        remove(env, [first])
        env.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=200)
