"""The region's Secrets."""

from __future__ import annotations

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube.pki import encode
from okitoki.kube.resources import Manifest
from okitoki.voiceregion.build.common import EDGE_SECRETS, EDGE_TLS, EDGE_TUNNEL, metadata
from okitoki.voiceregion.facts import Observed, Values


def edge_secrets(region: VoiceRegion, observed: Observed) -> Manifest:
    """What both nodes must share: the password of Redis, the secret of Kamailio's nonces."""
    return _secret(region, EDGE_SECRETS, "Opaque", observed.secrets.edge)


def edge_tunnel(region: VoiceRegion, observed: Observed) -> Manifest:
    """The key pairs of the tunnel's ends, by the pods' ordinals."""
    return _secret(region, EDGE_TUNNEL, "Opaque", observed.secrets.tunnel)


def edge_tls(region: VoiceRegion, observed: Observed) -> Manifest:
    """The certificate of all tenants' host names in the region. Raises ValueError when it was not prepared."""
    pair = observed.secrets.tls
    if pair is None:
        raise ValueError("the region's certificate was not prepared")
    return _secret(region, EDGE_TLS, "kubernetes.io/tls", {"tls.crt": pair.certificate, "tls.key": pair.key})


def _secret(region: VoiceRegion, name: str, kind: str, values: Values) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(region, name),
        "type": kind,
        "data": {key: encode(value) for key, value in sorted(values.items())},
    }
