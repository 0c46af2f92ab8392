"""A region and what is observed of it, healthy unless a test says otherwise."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube.authority import AuthoritySet
from okitoki.kube.pki import Authority, certificate_ids, new_authority
from okitoki.voiceregion.facts import ADDRESSES, EdgePod, NodeFacts, Observed, Secrets, Workload

NOW = 1_800_000_000.0
AUTHORITY = Authority(new_authority(datetime.fromtimestamp(NOW, UTC)))
AUTHORITIES = AuthoritySet(AUTHORITY)
PAIR = AUTHORITY.issue(["*.kyiv.okitoki.test"], datetime.fromtimestamp(NOW, UTC))
CERTIFICATE = certificate_ids(PAIR.certificate)
UID = "0f3c2a51-5a0e-4c39-9a55-aaaaaaaaaaaa"
SPEC: dict[str, Any] = {
    "domain": "kyiv.okitoki.test",
    "nodeSelector": {"topology.kubernetes.io/region": "kyiv"},
    "addresses": {"sip": "198.18.1.210", "https": "198.18.1.211", "media": ["198.18.1.212", "198.18.1.213"]},
    "media": {"portRange": {"from": 30000, "to": 30999}},
    "carriers": [{"name": "main", "hosts": ["198.18.1.150"]}],
}


def region(**changes: Any) -> VoiceRegion:
    """VoiceRegion kyiv; `changes` of its spec."""
    return VoiceRegion.model_validate({"metadata": {"name": "kyiv", "uid": UID}, "spec": {**SPEC, **changes}})


def pod(ordinal: int, **changes: Any) -> EdgePod:
    """A pod that is ready and protected and runs the newest template."""
    made = EdgePod(
        name=f"edge-{ordinal}",
        uid=f"uid-{ordinal}",
        node=f"worker{ordinal}",
        revision="new",
        ready=True,
        peer_answers=True,
        protected=True,
        certificate=next(iter(CERTIFICATE)),
        authorities=AUTHORITIES.ids,
    )
    return replace(made, **changes)


def pair(**second: Any) -> tuple[EdgePod, EdgePod]:
    """Two good pods; the first holds everything."""
    return pod(0, holds=ADDRESSES), pod(1, **second)


def node(number: int, **changes: Any) -> NodeFacts:
    """A node that the region may use."""
    made = NodeFacts(f"worker{number}", (f"198.18.1.{number + 2}",), (f"198.19.{number}.0/24",), matches=True)
    return replace(made, **changes)


def observed(**changes: Any) -> Observed:
    """Everything in order."""
    made = Observed(
        image="okitoki/edge:1",
        authorities=AUTHORITIES,
        namespace="ours",
        now=NOW,
        slot=0,
        secrets=Secrets({"redis-password": "r" * 64, "nonce-secret": "n" * 64}, PAIR, {"private-key-0": "k"}),
        pods=pair(),
        workload=Workload(True, "new"),
        nodes=(node(0), node(1)),
        used_nodes=("worker0", "worker1"),
        tenants=2,
    )
    return replace(made, **changes)
