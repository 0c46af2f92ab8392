"""Random values and certificates of a region: made once, kept for ever (but the certificate, which is renewed)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube import labels
from okitoki.kube.pki import Authority
from okitoki.kube.tunnel_keys import public_key, tunnel_pair
from okitoki.voiceregion.facts import EDGE_KEYS, REPLICAS, Observed, Values


def fill(region: VoiceRegion, observed: Observed, authority: Authority, now: datetime) -> Observed:
    """`observed` with what is missing generated; what exists is never changed."""
    found = observed.secrets
    wanted = certificate_names(region)
    requested = region.metadata.annotations.get(labels.RENEW_CERTIFICATE, "")
    tls = found.tls
    if tls is None or authority.unfit(tls, wanted, now, requested):
        tls = authority.issue(wanted, now)
    # Letters and digits only: the values go into configuration files of several syntaxes.
    edge = {**{key: secrets.token_hex(32) for key in EDGE_KEYS if key not in found.edge}, **found.edge}
    return replace(observed, secrets=replace(found, edge=edge, tls=tls, tunnel=_tunnel(found.tunnel)))


def _tunnel(found: Values) -> Values:
    """Key pairs of the tunnel's ends: all new ones unless every private key has its public one beside it."""
    whole = (
        found.get(f"public-key-{end}") == public_key(found.get(f"private-key-{end}", "")) is not None
        for end in range(REPLICAS)
    )
    if all(whole):
        return found
    pairs = [tunnel_pair() for _ in range(REPLICAS)]
    private = {f"private-key-{end}": pair[0] for end, pair in enumerate(pairs)}
    return private | {f"public-key-{end}": pair[1] for end, pair in enumerate(pairs)}


def certificate_names(region: VoiceRegion) -> list[str]:
    """All tenants' host names at once, so that a new tenant changes nothing here."""
    return [f"*.{region.spec.domain}"]
