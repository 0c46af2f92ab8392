from typing import Any

from okitoki_agents.edge.agent.endpoints import Backend, backends_of_slices


def endpoint_slice(*endpoints: Any, family: str = "IPv4") -> Any:
    return {"addressType": family, "endpoints": list(endpoints)}


def endpoint(address: str, **conditions: bool) -> Any:
    return {"addresses": [address], "conditions": conditions}


def test_pods_in_order_of_their_addresses_ready_or_not() -> None:
    slices = [endpoint_slice(endpoint("10.0.0.10", ready=False), endpoint("10.0.0.9", ready=True))]
    assert backends_of_slices(slices) == (Backend("10.0.0.9"), Backend("10.0.0.10"))


def test_a_pod_that_ends_is_marked() -> None:
    slices = [endpoint_slice(endpoint("10.0.0.9", ready=False, serving=True, terminating=True))]
    assert backends_of_slices(slices) == (Backend("10.0.0.9", terminating=True),)


def test_a_pod_in_two_slices_counts_once_and_lives_if_one_says_so() -> None:
    slices = [endpoint_slice(endpoint("10.0.0.9", terminating=True)), endpoint_slice(endpoint("10.0.0.9", ready=True))]
    assert backends_of_slices(slices) == (Backend("10.0.0.9"),)
    assert backends_of_slices(reversed(slices)) == (Backend("10.0.0.9"),)


def test_empty_slices_and_other_families_give_nothing() -> None:
    assert backends_of_slices([endpoint_slice(endpoint("fd00::1"), family="IPv6"), {"addressType": "IPv4"}]) == ()
    assert backends_of_slices([{"addressType": "IPv4", "endpoints": None}]) == ()
