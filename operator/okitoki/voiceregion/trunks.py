"""What the region says of its trunks, the hosts of its carriers: condition, status and news. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from okitoki.kube.times import rfc3339_of_epoch
from okitoki.reconcile.conditions import Condition
from okitoki.reconcile.kind import News
from okitoki.voiceregion.facts import EdgePod, Trunk

WORDS = {
    "Silent": "does not answer OPTIONS",
    "Refuses": "refuses calls",
    "Answers": "answers",
    "Unproven": "has never answered OPTIONS",
}


def trunks(pods: Iterable[EdgePod]) -> tuple[Trunk, ...]:
    """By the word of the node that has the SIP address; of two that say so, one that is ready."""
    speaking = sorted((pod for pod in pods if pod.trunks and "sip" in pod.holds), key=lambda pod: not pod.ready)
    return speaking[0].trunks if speaking else ()


def trunk_reachable(found: Sequence[Trunk]) -> Condition:
    """Whether calls can leave. It has no part in `Ready`: a carrier is not mended by looking at the region."""
    kind = "TrunkReachable"
    if not found:
        return Condition(
            kind, "Unknown", "NotAsked", "no node has the SIP address, so no trunk is asked", optional=True
        )
    dead, living = [trunk for trunk in found if trunk.dead], [trunk for trunk in found if not trunk.dead]
    text = "; ".join(describe(trunk) for trunk in [*dead, *living])
    if not living:
        text += ". Incoming calls may be lost and no landline can be called: ask the carrier, and look at the network"
        return Condition(kind, "False", "NoTrunkAnswers", text, optional=True)
    if dead:
        return Condition(kind, "False", "TrunkDead", f"{text}. Calls go through those that answer", optional=True)
    if all(trunk.state == "Unproven" for trunk in found):
        return Condition(kind, "Unknown", "NeverAnswered", text, optional=True)
    return Condition(kind, "True", "Answers", text, optional=True)


def describe(trunk: Trunk) -> str:
    """Which trunk, what it does, since when, with which code."""
    code = f" ({trunk.code})" if trunk.code else ""
    since = f" since {rfc3339_of_epoch(trunk.since)}" if trunk.since else ""
    return f"{trunk.host} of {trunk.carrier} {WORDS[trunk.state]}{code}{since}"


def trunk_status(found: Iterable[Trunk]) -> list[dict[str, Any]]:
    """`status.trunks`."""
    return [
        {"host": trunk.host, "carrier": trunk.carrier, "state": trunk.state}
        | ({"since": rfc3339_of_epoch(trunk.since)} if trunk.since else {})
        | ({"code": trunk.code} if trunk.code else {})
        for trunk in found
    ]


def trunk_news(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[News]:
    """Trunks that died, and those that answer again or for the first time."""
    old = {item["host"]: item["state"] for item in before.get("trunks") or []}
    found = []
    for item in after.get("trunks") or []:
        state, was = item["state"], old.get(item["host"], "Unproven")
        code = f" ({item['code']})" if item.get("code") else ""
        text = f"trunk {item['host']} of carrier {item['carrier']} {WORDS[state]}{code}"
        if state == was or state == "Unproven":
            continue
        reason = {"Silent": "TrunkSilent", "Refuses": "TrunkRefuses", "Answers": "TrunkAnswers"}[state]
        found.append(News(reason, text, warning=state != "Answers"))
    return found
