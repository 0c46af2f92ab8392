"""Everything a region is made of, in the order in which it is applied. Pure."""

from __future__ import annotations

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube.resources import Manifest
from okitoki.voiceregion.build.config_map import ca_config_map, region_config_map
from okitoki.voiceregion.build.disruption import disruption_budget
from okitoki.voiceregion.build.namespace import namespace
from okitoki.voiceregion.build.rbac import role, role_binding, service_account
from okitoki.voiceregion.build.secrets import edge_secrets, edge_tls, edge_tunnel
from okitoki.voiceregion.build.stateful_set import stateful_set
from okitoki.voiceregion.facts import Observed
from okitoki.voiceregion.validity import invalid_because


def build(region: VoiceRegion, observed: Observed) -> list[Manifest]:
    """The wanted objects; none while the namespace is not ours to fill.

    A region whose addresses are not its own to take is left as it is: what runs goes on, nothing new starts.
    """
    if observed.namespace in ("foreign", "terminating") or invalid_because(region, observed):
        return []
    return [
        namespace(region, observed),
        service_account(region),
        role(region),
        role_binding(region),
        edge_secrets(region, observed),
        edge_tls(region, observed),
        edge_tunnel(region, observed),
        ca_config_map(region, observed),
        region_config_map(region, observed),
        disruption_budget(region),
        stateful_set(region, observed),
    ]
