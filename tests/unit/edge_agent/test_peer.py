from pathlib import Path
from typing import Any

from okitoki_agents.edge.agent.peer import Found, choose_peer, remember
from okitoki_agents.edge.facts import Paths


def pod(
    name: str,
    address: str | None,
    *,
    terminating: bool = False,
    made: str = "1",
    phase: str = "Running",
    tunnel: bool = True,
) -> Any:
    metadata = {"name": name, "creationTimestamp": made} | ({"deletionTimestamp": "2"} if terminating else {})
    containers = [{"name": "guard"}, *([{"name": "tunnel"}] if tunnel else [])]
    return {
        "metadata": metadata,
        "spec": {"containers": containers},
        "status": {"hostIP": address, "phase": phase} if address else {},
    }


OWN = pod("edge-0", "198.18.1.1")


def test_the_peer_is_the_other_pods_node() -> None:
    assert choose_peer([OWN, pod("edge-1", "198.18.1.2")], "edge-0", "198.18.1.1") == Found("198.18.1.2")


def test_a_peer_of_a_version_without_a_tunnel_is_known_as_such() -> None:
    old = pod("edge-1", "198.18.1.2", tunnel=False)
    assert choose_peer([OWN, old], "edge-0", "198.18.1.1") == Found("198.18.1.2", plain=True)


def test_no_peer_while_the_other_pod_is_not_scheduled() -> None:
    assert choose_peer([OWN, pod("edge-1", None)], "edge-0", "198.18.1.1") is None


def test_a_pod_that_runs_comes_before_one_that_is_lost_with_its_node() -> None:
    pods = [OWN, pod("edge-1", "198.18.1.2", terminating=True, made="9"), pod("edge-1b", "198.18.1.3")]
    assert choose_peer(pods, "edge-0", "198.18.1.1") == Found("198.18.1.3")


def test_a_terminating_pod_is_better_than_none() -> None:
    leaving = pod("edge-1", "198.18.1.2", terminating=True)
    assert choose_peer([OWN, leaving], "edge-0", "198.18.1.1") == Found("198.18.1.2")


def test_a_finished_pod_is_no_peer() -> None:
    assert choose_peer([OWN, pod("edge-1", "198.18.1.2", phase="Failed")], "edge-0", "198.18.1.1") is None


def test_the_last_peer_is_kept_while_there_is_none(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run", tmp_path)
    assert remember(paths, None) is None
    assert remember(paths, Found("198.18.1.2")) == "198.18.1.2"
    assert paths.peer.read_text() == "198.18.1.2\n"
    assert remember(paths, None) == "198.18.1.2"
    assert remember(paths, Found("198.18.1.3")) == "198.18.1.3"


def test_a_peer_without_a_tunnel_is_written_down_beside_the_address_that_older_versions_read(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run", tmp_path)
    remember(paths, Found("198.18.1.2", plain=True))
    assert (paths.peer.read_text(), paths.plain_peer.read_text()) == ("198.18.1.2\n", "198.18.1.2\n")
    remember(paths, Found("198.18.1.2"))
    assert (paths.peer.read_text(), paths.plain_peer.read_text()) == ("198.18.1.2\n", "\n")
