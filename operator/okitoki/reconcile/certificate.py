"""What every kind with a server certificate says of it: in its status, in a condition, and as a metric. Pure.

The status is what a rotation of the authority waits for (`okitoki.kube.rotation`), so it speaks of what servers and
clients were seen to use, not of what they were given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from okitoki.kube import labels
from okitoki.kube.authority import AuthoritySet
from okitoki.kube.pki import KeyPair, Leaf, request_problem
from okitoki.kube.resources import Manifest
from okitoki.kube.rotation import Report
from okitoki.kube.times import rfc3339
from okitoki.reconcile.conditions import Condition, failing, good, progressing

CERTIFICATE_CURRENT = "CertificateCurrent"
EXPIRY = "okitoki_certificate_expiry_seconds"


@dataclass(frozen=True, slots=True)
class InUse:
    """What was seen. Empty: nothing runs."""

    shown: Mapping[str, str] = field(default_factory=dict)
    """The certificate (its id) that each server shows to clients; empty for one that does not tell."""
    trusted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The authorities (their ids) that each client checks certificates with."""


def certificate_status(authorities: AuthoritySet, pair: KeyPair | None, use: InUse) -> dict[str, Any] | None:
    """`status.certificate` (`okitoki.api.status.CertificateStatus`); None before there is one."""
    leaf = authorities.current.leaf(pair)
    if leaf is None:
        return None
    trusted = authorities.ids.intersection(*use.trusted.values())
    return {
        "authority": None if _others(leaf, use) else authorities.current.id,
        "trusted": sorted(trusted),
        "expires": rfc3339(leaf.expires),
    }


def report(raw: Manifest) -> Report:
    """What a Tenant's or VoiceRegion's status says; one without a word neither shows nor trusts anything."""
    found = (raw.get("status") or {}).get("certificate") or {}
    return Report(
        f"{raw['kind']} {raw['metadata']['name']}", found.get("authority"), frozenset(found.get("trusted") or ())
    )


def certificate_current(
    authorities: AuthoritySet, pair: KeyPair | None, use: InUse, annotations: Mapping[str, str], now: datetime
) -> Condition:
    """Whether every server shows the newest certificate, and every client trusts the platform's authorities.

    It has no part in `Ready`: while a certificate is replaced the old one is as good.
    """
    return replace(_judged(authorities, pair, use, annotations.get(labels.RENEW_CERTIFICATE, ""), now), optional=True)


def _judged(authorities: AuthoritySet, pair: KeyPair | None, use: InUse, requested: str, now: datetime) -> Condition:
    kind, leaf = CERTIFICATE_CURRENT, authorities.current.leaf(pair)
    if leaf is None:
        return progressing(kind, "Issuing", "the certificate is being made")
    until = f"{leaf.expires:%Y-%m-%d}"
    if leaf.expires <= now:
        text = f"certificate {leaf.id} ended on {until} with its authority: give the platform another one"
        return failing(kind, "Expired", f"{text} (docs/certificates.md)")
    if others := _others(leaf, use):
        return progressing(kind, "Reloading", f"certificate {leaf.id} is not shown yet by {', '.join(others)}")
    distrusting = sorted(name for name, trusted in use.trusted.items() if not authorities.ids <= trusted)
    if distrusting:
        wanted = " and ".join(sorted(authorities.ids))
        return progressing(kind, "Trusting", f"authorities {wanted} are not trusted yet by {', '.join(distrusting)}")
    text = f"certificate {leaf.id} of authority {authorities.current.id} until {until}"
    if problem := request_problem(requested, now):
        return failing(kind, "RequestRefused", f"annotation {labels.RENEW_CERTIFICATE}: {problem}; {text}")
    return good(kind, "Current", text)


def _others(leaf: Leaf, use: InUse) -> list[str]:
    """Servers that show another certificate, or do not tell which."""
    return sorted(name for name, shown in use.shown.items() if shown != leaf.id)


def certificate_measures(authorities: AuthoritySet, pair: KeyPair | None) -> dict[str, float]:
    """When the certificate that was given out last ends, in epoch seconds."""
    leaf = authorities.current.leaf(pair)
    return {EXPIRY: leaf.expires.timestamp()} if leaf else {}
