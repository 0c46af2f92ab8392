"""A region as the operator writes it, and facts of one of its nodes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from okitoki_agents.edge.facts import Facts, Paths, parse_region

REGION: dict[str, Any] = {
    "region": "kyiv",
    "domain": "kyiv.okitoki.test",
    "namespace": "okitoki-region-kyiv",
    "addresses": {"sip": "198.18.16.200", "https": "198.18.16.203", "media": ["198.18.16.201", "198.18.16.202"]},
    "ports": {
        "sip": 5060, "sips": 5061, "https": 443, "dmq": 5070, "redis": 16379, "ng": [2223, 2224], "cli": [9901, 9902],
        "agent": 9780, "tunnel": 51840,
    },
    "tunnel": {"interface": "okitoki-wg0", "table": 20500},
    "aliases": {"media": ["198.18.255.1", "198.18.255.2"], "peer": "198.18.255.3"},
    "mediaPorts": {"from": 30000, "to": 30999},
    "vrrp": {"advertIntervalMilliseconds": 100, "routerIds": {"sip": 51, "https": 52, "media": [53, 54]}},
    "carriers": [{"name": "main", "hosts": ["198.18.16.150", "198.18.16.151"], "probeSeconds": 5}],
}  # fmt: skip
ENVIRONMENT = {
    "NODE_IP": "198.18.16.11",
    "POD_NAME": "edge-0",
    "POD_NAMESPACE": "okitoki-region-kyiv",
    "REDIS_PASSWORD": "redispassword0000001",
    "NONCE_SECRET": "noncesecret000000001",
}


def region(**changes: Any) -> dict[str, Any]:
    """A fresh region.json; `changes` replace whole top-level fields."""
    return copy.deepcopy(REGION) | changes


def facts(folder: Path, ordinal: int = 0) -> Facts:
    return Facts(
        region=parse_region(region()),
        node_ip=f"198.18.16.1{ordinal + 1}",
        pod_name=f"edge-{ordinal}",
        pod_namespace="okitoki-region-kyiv",
        redis_password=ENVIRONMENT["REDIS_PASSWORD"],
        nonce_secret=ENVIRONMENT["NONCE_SECRET"],
        paths=Paths(run=folder / "run", data=folder / "data"),
    )
