"""The latest word of each edge pod."""

from __future__ import annotations

import json
from typing import Any

from okitoki.kube import labels
from okitoki.reconcile.landlines import Landlines


def pod(version: int, since: int | None, name: str = "edge-0", region: str = "kyiv") -> dict[str, Any]:
    said = {} if since is None else {"acme": {"mode": "landlines", "since": since, "why": "no-routes", "switches": 1}}
    return {
        "metadata": {
            "name": name,
            "namespace": f"okitoki-region-{region}",
            "resourceVersion": str(version),
            "labels": labels.owned("edge", region=region),
            "annotations": {labels.EDGE_STATUS: json.dumps({"landlines": said})},
        }
    }


def since(landlines: Landlines, region: str = "kyiv") -> int | None:
    found = landlines.of(region, "acme")
    return found.since if found else None


def test_the_latest_of_a_regions_pods_counts() -> None:
    landlines = Landlines()
    assert not landlines.known
    landlines.replace([pod(1, 5), pod(2, 7, "edge-1"), pod(3, 9, region="lviv")])
    assert landlines.known
    assert (since(landlines), since(landlines, "lviv"), since(landlines, "odesa")) == (7, 9, None)
    assert landlines.of("kyiv", "globex") is None


def test_news_is_told_once_and_an_older_word_is_not_heard() -> None:
    landlines = Landlines()
    assert landlines.told(pod(4, 5)) == ["acme"]
    assert landlines.told(pod(5, 5)) == []
    assert landlines.told(pod(3, 2)) == []
    assert since(landlines) == 5


def test_who_is_gone_says_nothing_and_what_was_before_a_gap_is_forgotten() -> None:
    landlines = Landlines()
    landlines.replace([pod(1, 5), pod(1, 6, "edge-1")])
    assert landlines.told(pod(2, 6, "edge-1"), gone=True) == []
    assert since(landlines) == 5
    landlines.replace([])
    assert since(landlines) is None
