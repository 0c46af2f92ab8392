"""The region's ConfigMaps: its facts for the edge, and the platform's CA."""

from __future__ import annotations

import json
from typing import Any

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube import names
from okitoki.kube.resources import Manifest
from okitoki.voiceregion.allocation import allocation
from okitoki.voiceregion.build.common import REGION_CONFIG_MAP, REGION_FILE, metadata
from okitoki.voiceregion.facts import Observed


def region_facts(region: VoiceRegion, observed: Observed) -> dict[str, Any]:
    """`region.json` (docs/interfaces.md, "Region namespace"). Nothing of a tenant is in it: its change restarts the
    edge."""
    spec, given = region.spec, allocation(observed.slot)
    return {
        "region": region.metadata.name,
        "domain": spec.domain,
        "namespace": names.region_namespace(region.metadata.name),
        "addresses": {"sip": spec.addresses.sip, "https": spec.addresses.https, "media": list(spec.addresses.media)},
        "ports": dict(given.ports),
        "aliases": {"media": list(given.media_aliases), "peer": given.peer_alias},
        "tunnel": dict(given.tunnel),
        "mediaPorts": {"from": spec.media.port_range.from_, "to": spec.media.port_range.to},
        # Not there without a limit: a new operator must not restart the edge of a region that has none.
        **({} if spec.media.max_calls is None else {"maxCalls": spec.media.max_calls}),
        "vrrp": {
            "advertIntervalMilliseconds": spec.failover.advert_milliseconds,
            "routerIds": dict(given.router_ids),
        },
        "carriers": [
            {"name": carrier.name, "hosts": list(carrier.hosts), "probeSeconds": carrier.probe_seconds}
            for carrier in spec.carriers
        ],
    }


def region_config_map(region: VoiceRegion, observed: Observed) -> Manifest:
    """The facts as a file."""
    text = json.dumps(region_facts(region, observed), indent=1)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(region, REGION_CONFIG_MAP),
        "data": {REGION_FILE: text},
    }


def ca_config_map(region: VoiceRegion, observed: Observed) -> Manifest:
    """What the edge checks the apps' certificates with."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(region, names.CA_CONFIG_MAP, None),
        "data": {"ca.crt": observed.authorities.bundle},
    }
