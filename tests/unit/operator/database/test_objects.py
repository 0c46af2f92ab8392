"""Objects of a database cluster: what would cost data or open a door if it were otherwise."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from support.patroni_entry import patronis

from okitoki.database import objects
from okitoki.database.spec import DatabaseCluster, dynamic_configuration, needed_changes
from okitoki.database.statefulset import stateful_set
from okitoki.kube import labels
from okitoki.kube.labels import MANAGED_BY
from okitoki_agents.database.__main__ import FENCE_FILE


def cluster(instances: int = 3) -> DatabaseCluster:
    return DatabaseCluster("acme", "tenant-acme", "okitoki-system", instances, "1Gi", 2**30, "postgres:1")


def container(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["spec"]["template"]["spec"]["containers"][0]
    return found


def test_commits_are_never_lost_for_speed() -> None:
    dynamic = dynamic_configuration(cluster())
    assert dynamic["synchronous_mode"] == "quorum"
    assert dynamic["synchronous_mode_strict"] is True
    assert dynamic["failsafe_mode"] is True
    assert dynamic["postgresql"]["parameters"]["synchronous_commit"] == "on"
    # Patroni refuses to lead with less.
    assert dynamic["ttl"] >= dynamic["loop_wait"] + 2 * dynamic["retry_timeout"]


def test_more_members_wait_for_more_standbys_and_always_leave_one_to_spare() -> None:
    assert [cluster(n).synchronous_nodes for n in (3, 4, 5)] == [1, 2, 2]


def test_a_lost_member_cannot_fill_the_primarys_disk() -> None:
    parameters = dynamic_configuration(cluster())["postgresql"]["parameters"]
    assert parameters["max_slot_wal_keep_size"] == "256MB"


def test_only_what_differs_is_sent_to_patroni_and_others_settings_stay() -> None:
    wanted = {"ttl": 20, "postgresql": {"use_slots": True, "parameters": {"a": "1", "b": 2}}}
    found = {"ttl": 20, "extra": 1, "postgresql": {"use_slots": True, "parameters": {"a": "1", "b": 3, "c": 4}}}
    assert needed_changes(wanted, found) == {"postgresql": {"parameters": {"b": 2}}}
    assert needed_changes(wanted, {}) == wanted
    assert needed_changes(wanted, wanted) == {}


def test_the_file_for_patroni_is_yaml_with_the_settings_and_no_password() -> None:
    made = objects.config_map(cluster())
    text = made["data"]["patroni.yaml"]
    found = yaml.safe_load(text)
    assert found["bootstrap"]["dcs"] == dynamic_configuration(cluster())
    assert found["kubernetes"]["use_endpoints"] is False
    assert found["bootstrap"]["post_init"] == "/usr/local/bin/okitoki-post-init"
    # Seen on a cluster: the source of a rewind was stopped half way, and the member never followed anybody again.
    assert found["postgresql"]["remove_data_directory_on_rewind_failure"] is True
    assert found["postgresql"]["remove_data_directory_on_diverged_timelines"] is True
    assert "password" not in text.lower().replace("password_encryption", "").replace("password)", "").replace(
        "passwords", ""
    )


def test_patroni_understands_how_a_cluster_is_to_be_made() -> None:
    """It takes options with a value as strings only, and says so when the first member is made, again and again."""
    options = yaml.safe_load(objects.config_map(cluster())["data"]["patroni.yaml"])["bootstrap"]["initdb"]
    [bootstrap] = patronis("postgresql.bootstrap")
    made = bootstrap.Bootstrap.process_user_options("initdb", options, (), pytest.fail)
    assert made == ["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--wal-segsize=4"]


def test_patronis_own_objects_are_neither_watched_nor_pruned() -> None:
    made = yaml.safe_load(objects.config_map(cluster())["data"]["patroni.yaml"])
    found = made["kubernetes"]["labels"]
    assert MANAGED_BY not in found
    pods = stateful_set(cluster())["spec"]["template"]["metadata"]["labels"]
    assert labels.matches(pods, {**found, "cluster-name": made["scope"]})


def test_remote_logins_need_a_password_and_the_app_gets_its_own_database_only() -> None:
    rules = yaml.safe_load(objects.config_map(cluster())["data"]["patroni.yaml"])["postgresql"]["pg_hba"]
    remote = [rule.split() for rule in rules if rule.startswith("host")]
    assert all(rule[-1] == "scram-sha-256" for rule in remote)
    assert [rule[1] for rule in remote if rule[2] == "app"] == ["callcentre"]


def test_members_are_on_different_nodes_and_start_together() -> None:
    made = stateful_set(cluster())["spec"]
    assert made["podManagementPolicy"] == "Parallel"
    rule = made["template"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule[0]["topologyKey"] == "kubernetes.io/hostname"
    assert labels.matches(made["template"]["metadata"]["labels"], rule[0]["labelSelector"]["matchLabels"])


def test_the_pods_fit_pod_security_restricted() -> None:
    made = stateful_set(cluster())
    pod = made["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 999
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    found = container(made)["securityContext"]
    assert found == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_everything_patroni_writes_is_on_a_volume() -> None:
    made = stateful_set(cluster())
    mounts = {item["mountPath"]: item.get("readOnly", False) for item in container(made)["volumeMounts"]}
    settings = yaml.safe_load(objects.config_map(cluster())["data"]["patroni.yaml"])["postgresql"]
    for path in (settings["data_dir"], settings["pgpass"], settings["parameters"]["unix_socket_directories"]):
        assert any(path.startswith(mount) and not read_only for mount, read_only in mounts.items()), path
    # local-path ignores fsGroup: the volume's root stays root's, so the data must be below it.
    assert settings["data_dir"] != "/var/lib/postgresql/data"


def test_passwords_come_from_the_secret_alone() -> None:
    for item in container(stateful_set(cluster()))["env"]:
        if "PASSWORD" in item["name"]:
            assert item["valueFrom"]["secretKeyRef"]["name"] == "postgres-credentials"


def test_the_volume_templates_size_is_the_one_given() -> None:
    claim = stateful_set(cluster())["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"


def test_each_member_has_a_service_of_its_own_that_also_serves_what_is_not_ready() -> None:
    headless, *members = objects.services(cluster())
    assert headless["spec"]["clusterIP"] == "None"
    assert [item["metadata"]["name"] for item in members] == ["postgres-0", "postgres-1", "postgres-2"]
    for item in members:
        assert item["spec"]["selector"]["statefulset.kubernetes.io/pod-name"] == item["metadata"]["name"]
        assert item["spec"]["publishNotReadyAddresses"] is True


def test_the_budget_lets_a_drain_take_one_member_and_never_blocks_it_for_a_broken_one() -> None:
    made = objects.disruption_budget(cluster())["spec"]
    assert made["maxUnavailable"] == 1
    assert made["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_only_the_tenants_app_and_the_members_reach_postgresql() -> None:
    first, second, third = objects.network_policy(cluster())["spec"]["ingress"]
    assert first["ports"] == [{"protocol": "TCP", "port": 5432}]
    assert [list(source) for source in first["from"]] == [["podSelector"], ["podSelector"]]
    names = [source["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for source in first["from"]]
    assert names == ["postgres", "app"]
    assert second["ports"] == [{"protocol": "TCP", "port": 8008}]
    assert second["from"][1]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "okitoki-system"}
    assert third["ports"] == [{"protocol": "TCP", "port": 8009}]
    assert third["from"] == second["from"], "agents cut each other's streams; the operator asks for a hand-over"


def test_the_agent_can_signal_the_server_and_needs_no_right_for_it() -> None:
    pod = stateful_set(cluster())["spec"]["template"]["spec"]
    server, agent = pod["containers"]
    assert pod["shareProcessNamespace"] is True
    assert agent["securityContext"] == server["securityContext"]
    assert agent["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounts = {one["mountPath"]: one for one in agent["volumeMounts"]}
    assert mounts["/var/lib/postgresql/data"]["readOnly"] is True


def test_the_fence_outlives_the_pod() -> None:
    """A voter's new pod would else stream from the primary that it was cut off from, and acknowledge."""
    pod = stateful_set(cluster())["spec"]["template"]["spec"]
    server, agent = ({one["mountPath"]: one for one in each["volumeMounts"]} for each in pod["containers"])
    folder = str(FENCE_FILE.parent)
    assert agent[folder] == {"name": "data", "subPath": "fence", "mountPath": folder}
    assert server[folder] == {**agent[folder], "readOnly": True}, "the gate reads what the agent writes"
    assert "data" not in {volume["name"] for volume in pod["volumes"]}, "it is the claim's"


def test_patroni_may_not_touch_secrets_or_anything_outside() -> None:
    made = objects.role(cluster())
    assert made["kind"] == "Role"
    assert {resource for rule in made["rules"] for resource in rule["resources"]} == {"configmaps", "pods"}
    assert objects.role_binding(cluster())["subjects"][0]["namespace"] == "tenant-acme"
