from pathlib import Path
from typing import Any

from okitoki_agents.edge.agent.peer import choose_peer, remember


def pod(name: str, address: str | None, *, terminating: bool = False, made: str = "1", phase: str = "Running") -> Any:
    metadata = {"name": name, "creationTimestamp": made} | ({"deletionTimestamp": "2"} if terminating else {})
    return {"metadata": metadata, "status": {"hostIP": address, "phase": phase} if address else {}}


OWN = pod("edge-0", "198.18.1.1")


def test_the_peer_is_the_other_pods_node() -> None:
    assert choose_peer([OWN, pod("edge-1", "198.18.1.2")], "edge-0", "198.18.1.1") == "198.18.1.2"


def test_no_peer_while_the_other_pod_is_not_scheduled() -> None:
    assert choose_peer([OWN, pod("edge-1", None)], "edge-0", "198.18.1.1") is None


def test_a_pod_that_runs_comes_before_one_that_is_lost_with_its_node() -> None:
    pods = [OWN, pod("edge-1", "198.18.1.2", terminating=True, made="9"), pod("edge-1b", "198.18.1.3")]
    assert choose_peer(pods, "edge-0", "198.18.1.1") == "198.18.1.3"


def test_a_terminating_pod_is_better_than_none() -> None:
    assert choose_peer([OWN, pod("edge-1", "198.18.1.2", terminating=True)], "edge-0", "198.18.1.1") == "198.18.1.2"


def test_a_finished_pod_is_no_peer() -> None:
    assert choose_peer([OWN, pod("edge-1", "198.18.1.2", phase="Failed")], "edge-0", "198.18.1.1") is None


def test_the_last_peer_is_kept_while_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "peer"
    assert remember(file, None) is None
    assert remember(file, "198.18.1.2") == "198.18.1.2"
    assert file.read_text() == "198.18.1.2\n"
    assert remember(file, None) == "198.18.1.2"
    assert remember(file, "198.18.1.3") == "198.18.1.3"
