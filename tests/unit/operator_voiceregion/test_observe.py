import json
from typing import Any

from okitoki.voiceregion.observe import claims, edge_pod, node_facts, slots, used_nodes, workload


def raw_pod(report: Any = None, **status: Any) -> dict[str, Any]:
    annotations = {} if report is None else {"platform.oki-toki.net/edge-status": report}
    return {
        "metadata": {
            "name": "edge-1",
            "uid": "u",
            "labels": {"controller-revision-hash": "edge-1a"},
            "annotations": annotations,
        },
        "spec": {"nodeName": "worker"},
        "status": status,
    }


def test_a_pod_with_its_agents_word() -> None:
    report = {
        "holds": ["media-1", "sip"],
        "peerAnswers": True,
        "protected": True,
        "unprotectedBecause": [],
        "deadLetters": 3,
        "since": {"sip": 1800000000, "other": 1, "https": "x"},
    }
    ready = [{"type": "Ready", "status": "True"}]
    pod = edge_pod(raw_pod(json.dumps(report), conditions=ready))
    assert (pod.holds, pod.protected, pod.peer_answers, pod.dead_letters) == (("sip", "media-1"), True, True, 3)
    assert pod.since == {"sip": 1_800_000_000.0}
    assert (pod.ready, pod.revision, pod.node, pod.ordinal) == (True, "edge-1a", "worker", 1)


def test_a_pod_whose_agent_said_nothing_or_nonsense_holds_nothing_and_is_not_protected() -> None:
    for report in (None, "{", "[]", json.dumps({"holds": "sip", "protected": "yes"})):
        pod = edge_pod(raw_pod(report))
        assert (pod.holds, pod.protected, pod.ready) == ((), False, False)


def test_why_a_pod_does_not_start() -> None:
    unscheduled = [{"type": "PodScheduled", "status": "False", "message": "0/5 nodes are available"}]
    assert edge_pod(raw_pod(conditions=unscheduled)).problem == "cannot be scheduled: 0/5 nodes are available"
    waiting = [{"name": "agent", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
    assert edge_pod(raw_pod(containerStatuses=waiting)).problem == "agent: ImagePullBackOff, no such image"
    starting = [{"name": "agent", "state": {"waiting": {"reason": "PodInitializing"}}}]
    assert edge_pod(raw_pod(containerStatuses=starting)).problem == ""


def test_a_revision_counts_once_its_controller_has_seen_the_template() -> None:
    live = {"metadata": {"generation": 2}, "status": {"observedGeneration": 1, "updateRevision": "edge-1"}}
    assert workload(live).revision == ""
    live["status"]["observedGeneration"] = 2
    assert workload(live).revision == "edge-1"
    assert not workload(None).exists


def test_what_namespaces_remember() -> None:
    def namespace(region: str, slot: str, nodes: str = "") -> dict[str, Any]:
        return {
            "metadata": {
                "labels": {"platform.oki-toki.net/region": region},
                "annotations": {
                    "platform.oki-toki.net/region-slot": slot,
                    "platform.oki-toki.net/edge-nodes": nodes,
                },
            }
        }

    found = [namespace("kyiv", "2"), namespace("lviv", "x"), {"metadata": {"labels": {}}}]
    assert slots(found) == {"kyiv": 2}
    assert used_nodes(namespace("kyiv", "2", "a,b")) == ("a", "b")
    assert used_nodes(namespace("kyiv", "2")) == used_nodes(None) == ()


def test_older_regions_come_first_and_younger_ones_give_way() -> None:
    def region(name: str) -> dict[str, Any]:
        addresses = {"sip": f"{name}1", "https": f"{name}2", "media": [f"{name}3", f"{name}4"]}
        return {"metadata": {"name": name}, "spec": {"domain": name, "addresses": addresses}}

    first, second = claims("b", [region("a"), region("b"), region("c")])
    assert (first.name, first.older, second.name, second.older) == ("a", True, "c", False)
    assert first.addresses == ("a1", "a2", "a3", "a4")


def test_a_node_by_its_labels_and_state() -> None:
    raw: dict[str, Any] = {
        "metadata": {"name": "worker", "labels": {"region": "kyiv"}},
        "spec": {"podCIDRs": ["198.19.1.0/24", "fd00::/64"]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "198.18.1.3"}, {"type": "Hostname", "address": "worker"}],
            "conditions": [{"type": "Ready", "status": "Unknown"}],
        },
    }
    found = node_facts(raw, {"region": "kyiv"})
    assert (found.matches, found.ready, found.addresses) == (True, False, ("198.18.1.3",))
    assert found.pod_ranges == ("198.19.1.0/24",)
    assert not node_facts(raw, {"region": "lviv"}).matches
    raw["spec"]["unschedulable"] = True
    assert not node_facts(raw, {"region": "kyiv"}).matches
