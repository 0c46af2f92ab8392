import re
from datetime import UTC, datetime
from typing import Any

import pytest
from unit.operator_voiceregion.support import AUTHORITY, NOW, SPEC, UID, node, observed, pair, pod, region

from okitoki.api import crds
from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube.authority import AuthoritySet
from okitoki.kube.pki import Authority, new_authority
from okitoki.reconcile.conditions import Condition, summary
from okitoki.reconcile.kind import Outcome
from okitoki.voiceregion.conditions import addresses_held, conditions, edge_redundant, holders, settles_in, status
from okitoki.voiceregion.facts import ADDRESSES, Observed, RegionClaim, Workload


def judged(**changes: Any) -> dict[str, Condition]:
    found = conditions(region(), observed(**changes), Outcome())
    return {item.type: item for item in found}


def test_a_region_in_order_is_ready() -> None:
    found = judged()
    assert {name: item.status for name, item in found.items()} == {
        "NamespaceOwned": "True",
        "ConfigurationValid": "True",
        "AddressesHeld": "True",
        "EdgeRedundant": "True",
        "TrunkReachable": "Unknown",
        "CertificateCurrent": "True",
    }
    assert summary(list(found.values())).status == "True"
    assert status(region(), observed()) == {
        "namespace": "okitoki-region-kyiv",
        "members": "2/2",
        "holders": dict.fromkeys(ADDRESSES, "edge-0"),
        "nodes": {"edge-0": "worker0", "edge-1": "worker1"},
        "tenants": 2,
        "trunks": None,
        "drain": None,
        "certificate": {"authority": AUTHORITY.id, "trusted": [AUTHORITY.id], "expires": "2028-01-15T08:00:00Z"},
    }


def test_a_foreign_namespace_is_named() -> None:
    found = judged(namespace="foreign")["NamespaceOwned"]
    assert found.reason == "NamespaceNotOwned"
    assert "never adopted" in found.message
    assert set(status(region(), observed(namespace="foreign", pods=()))) == {"certificate"}


def test_a_rotation_waits_for_what_the_pods_say_they_run() -> None:
    """HAProxy that shows the old certificate or does not trust the next authority, and a pod without a word."""
    following = Authority(new_authority(datetime.fromtimestamp(NOW, UTC)))
    both = AuthoritySet(AUTHORITY, next=following)
    late = observed(authorities=both, trusted=both.ids, pods=(pod(0, authorities=both.ids), pod(1)))
    found = certificate(late)
    assert (found.reason, found.optional) == ("Trusting", True)
    assert "edge-1" in found.message
    assert "edge-0" not in found.message
    assert status(region(), late)["certificate"]["trusted"] == [AUTHORITY.id]
    silent = observed(pods=(pod(0), pod(1, certificate="", authorities=frozenset())))
    assert certificate(silent).reason == "Reloading"
    assert status(region(), silent)["certificate"]["authority"] is None
    assert status(region(), silent)["certificate"]["trusted"] == []
    unplaced = observed(pods=(pod(0), pod(1, node="", certificate="", authorities=frozenset())))
    assert certificate(unplaced).status == "True"


def test_a_request_for_a_certificate_that_is_no_time_is_told_with_the_mend() -> None:
    metadata = {"name": "kyiv", "uid": UID, "annotations": {"platform.oki-toki.net/renew-certificate": "please"}}
    asking = VoiceRegion.model_validate({"metadata": metadata, "spec": SPEC})
    found = {item.type: item for item in conditions(asking, observed(), Outcome())}["CertificateCurrent"]
    assert found.reason == "RequestRefused"
    assert "no time with a zone such as" in found.message


def certificate(found: Observed) -> Condition:
    return {item.type: item for item in conditions(region(), found, Outcome())}["CertificateCurrent"]


def test_a_collision_is_named() -> None:
    other = RegionClaim("lviv", "x.test", ("198.18.1.210",), older=True)
    assert judged(others=(other,))["ConfigurationValid"].reason == "AddressTaken"


def test_an_address_that_nobody_has_is_a_failure_once_the_edge_has_started() -> None:
    found = addresses_held(observed(pods=(pod(0, holds=ADDRESSES[:3]), pod(1))))
    assert (found.reason, found.warning) == ("NotHeld", True)
    assert "media-2" in found.message


def test_while_the_edge_starts_nothing_is_a_failure() -> None:
    starting = (pod(0, ready=False, protected=False), pod(1, ready=False, protected=False))
    found = judged(pods=starting)
    assert found["AddressesHeld"].reason == "Starting"
    first_ready = (pod(0, protected=False), pod(1, ready=False, protected=False))
    assert addresses_held(observed(pods=first_ready)).reason == "Starting"
    assert not any(item.warning for item in found.values())


def test_an_address_on_two_nodes_is_told() -> None:
    both = (pod(0, holds=ADDRESSES), pod(1, holds=("sip",)))
    found = addresses_held(observed(pods=both))
    assert found.reason == "HeldTwice"
    assert "sip on edge-0 and edge-1" in found.message


def test_a_move_is_no_news_until_it_takes_too_long() -> None:
    for seconds, reason in ((3.0, "Moving"), (20.0, "HeldTwice")):
        both = (pod(0, holds=ADDRESSES), pod(1, holds=("sip",), since={"sip": NOW - seconds}))
        assert addresses_held(observed(pods=both)).reason == reason
    for seconds, reason in ((3.0, "Moving"), (20.0, "NotHeld")):
        none = (pod(0, holds=ADDRESSES[1:], since={"sip": NOW - seconds}), pod(1))
        assert addresses_held(observed(pods=none)).reason == reason
        assert (settles_in(observed(pods=none)) is None) == (reason == "NotHeld")


def test_a_move_of_one_address_hides_no_loss_of_another() -> None:
    long_ago = {"media-2": NOW - 3600}
    pods = (pod(0, holds=("https", "media-1"), since={"sip": NOW - 1, **long_ago}), pod(1))
    found = addresses_held(observed(pods=pods))
    assert found.reason == "NotHeld"
    assert "media-2" in found.message


def test_addresses_that_come_one_by_one_at_the_start_are_no_failure() -> None:
    for seconds, reason in ((2.0, "Starting"), (20.0, "NotHeld")):
        pods = (pod(0, holds=("sip",), since={"sip": NOW - seconds}), pod(1, ready=False))
        assert addresses_held(observed(pods=pods)).reason == reason


def test_a_network_that_is_split_is_told() -> None:
    both = (pod(0, holds=ADDRESSES, peer_answers=False), pod(1, holds=ADDRESSES, peer_answers=False))
    assert addresses_held(observed(pods=both)).reason == "HeldTwice"


def test_the_last_word_of_a_dead_node_does_not_count() -> None:
    dead = pod(0, holds=ADDRESSES)
    alive = pod(1, holds=ADDRESSES, peer_answers=False, protected=False)
    assert holders((dead, alive)) == {name: ["edge-1"] for name in ADDRESSES}
    # Later the node controller knows.
    lost = pod(0, holds=ADDRESSES, ready=False, peer_answers=False)
    assert holders((lost, alive)) == {name: ["edge-1"] for name in ADDRESSES}


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"ready": False, "problem": "agent: ImagePullBackOff"}, "edge-1 is not ready (agent: ImagePullBackOff)"),
        ({"protected": False, "unprotected_because": ("rtpengine-1 is down",)}, "rtpengine-1 is down"),
        ({"terminating": True}, "edge-1 ends"),
    ],
)
def test_a_pair_that_is_not_safe_says_why(second: dict[str, Any], said: str) -> None:
    found = edge_redundant(region(), observed(pods=pair(**second)))
    assert found.status == "False"
    assert said in found.message


def test_too_few_nodes_is_a_failure_with_the_mend() -> None:
    found = edge_redundant(region(), observed(nodes=(node(0), node(1, matches=False))))
    assert (found.reason, found.warning) == ("NotEnoughNodes", True)
    assert "selects 1 schedulable node, 2 are needed" in found.message


def test_a_rollout_is_shown_and_does_not_make_the_region_unready() -> None:
    old = tuple(pod(number, revision="old", holds=ADDRESSES if number == 0 else ()) for number in (0, 1))
    found = judged(pods=old)
    assert found["Progressing"].abnormal
    assert "edge-1 has an old template" in found["Progressing"].message
    assert summary(list(found.values())).status == "True"
    assert "Progressing" not in judged(workload=Workload())


def test_each_condition_that_a_printer_column_shows_is_one_that_is_reported() -> None:
    """Seen on a cluster: the column Redundant was empty, because it asked for a condition that does not exist."""
    version = next(item for file, item in crds.all_crds().items() if "voiceregions" in file)["spec"]["versions"][0]
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    shown = {kind for path in paths for kind in re.findall(r'@\.type=="(\w+)"', path)}
    assert "EdgeRedundant" in shown
    assert shown - {"Ready"} <= set(judged())
