"""What a region says of its trunks."""

import json
from typing import Any

import pytest
from unit.operator_voiceregion.support import observed, pair, pod, region
from unit.operator_voiceregion.test_observe import raw_pod

from okitoki.kube.edge_report import TrunkState
from okitoki.metrics.domain import Series
from okitoki.reconcile.conditions import summary
from okitoki.voiceregion.conditions import status
from okitoki.voiceregion.facts import ADDRESSES, Trunk
from okitoki.voiceregion.measures import measures, news
from okitoki.voiceregion.observe import edge_pod
from okitoki.voiceregion.trunks import trunk_reachable, trunk_status, trunks

SINCE = 1_800_000_000
TIME = "2027-01-15T08:00:00Z"


def trunk(state: TrunkState = "Answers", host: str = "198.18.1.150", code: int | None = 200) -> Trunk:
    return Trunk(host, "main", state, 0 if state == "Unproven" else SINCE, code)


LIVE, DEAD = trunk(), trunk("Silent", "198.18.1.151", None)


@pytest.mark.parametrize(
    ("found", "state", "reason", "named"),
    [
        ((), "Unknown", "NotAsked", "no node has the SIP address"),
        ((LIVE,), "True", "Answers", f"198.18.1.150 of main answers (200) since {TIME}"),
        (
            (LIVE, DEAD),
            "False",
            "TrunkDead",
            f"198.18.1.151 of main does not answer OPTIONS since {TIME}; 198.18.1.150",
        ),
        ((DEAD,), "False", "NoTrunkAnswers", "ask the carrier"),
        ((trunk("Refuses", code=503),), "False", "NoTrunkAnswers", "198.18.1.150 of main refuses calls (503) since"),
        ((trunk("Unproven", code=None),), "Unknown", "NeverAnswered", "has never answered OPTIONS"),
        ((trunk("Unproven", code=None), DEAD), "False", "TrunkDead", "Calls go through those"),
        ((trunk("Unproven", "198.18.1.151", None), LIVE), "True", "Answers", "198.18.1.151 of main has never"),
    ],
)
def test_the_condition_names_trunk_time_and_code(found: tuple[Trunk, ...], state: str, reason: str, named: str) -> None:
    condition = trunk_reachable(found)
    assert (condition.type, condition.status, condition.reason) == ("TrunkReachable", state, reason)
    assert named in condition.message
    assert summary([condition]).status == "True", "a carrier's fault does not make the region unready"


def test_the_word_of_the_node_with_the_sip_address_counts() -> None:
    old = pod(0, holds=("media-1",), trunks=(DEAD,))
    assert trunks((old, pod(1, holds=("sip",), trunks=(LIVE,)))) == (LIVE,)
    assert trunks((old, pod(1))) == ()
    split = (pod(0, holds=("sip",), trunks=(DEAD,), ready=False), pod(1, holds=("sip",), trunks=(LIVE,)))
    assert trunks(split) == (LIVE,)


def test_the_agents_word_is_read_and_nothing_else() -> None:
    said: dict[str, Any] = {
        "198.18.1.151": {"carrier": "main", "state": "silent", "since": SINCE, "code": None},
        "198.18.1.150": {"carrier": "main", "state": "answers", "since": SINCE, "code": 200},
        "198.18.1.152": {"carrier": "main", "state": "tired"},
        "198.18.1.153": "silent",
    }
    assert edge_pod(raw_pod(json.dumps({"trunks": said}))).trunks == (LIVE, DEAD)
    assert edge_pod(raw_pod(json.dumps({"trunks": ["198.18.1.150"]}))).trunks == ()


def test_status_and_metrics() -> None:
    _, second = pair()
    found = observed(
        pods=(pod(0, holds=ADDRESSES, trunks=(LIVE, DEAD, trunk("Unproven", "198.18.1.152", None))), second)
    )
    assert status(region(), found)["trunks"] == [
        {"host": "198.18.1.150", "carrier": "main", "state": "Answers", "since": TIME, "code": 200},
        {"host": "198.18.1.151", "carrier": "main", "state": "Silent", "since": TIME},
        {"host": "198.18.1.152", "carrier": "main", "state": "Unproven"},
    ]
    assert status(region(), observed())["trunks"] is None
    told = measures(found)
    assert told["okitoki_region_trunk_answers"] == {"198.18.1.150": 1.0, "198.18.1.151": 0.0}
    Series().put(("VoiceRegion", "kyiv"), told)


def test_a_change_is_told_once() -> None:
    def at(*found: Trunk) -> dict[str, Any]:
        return {"trunks": trunk_status(found)}

    died = [(item.reason, item.warning) for item in news(at(LIVE), at(trunk("Silent", code=None)))]
    assert died == [("TrunkSilent", True)]
    assert [item.reason for item in news(at(DEAD), at(trunk("Answers", "198.18.1.151", 405)))] == ["TrunkAnswers"]
    assert [item.message for item in news({}, at(LIVE))] == ["trunk 198.18.1.150 of carrier main answers (200)"]
    assert not news(at(LIVE, DEAD), at(LIVE, DEAD))
    assert not news({}, at(trunk("Unproven", code=None)))
    assert not news(at(LIVE), {})
