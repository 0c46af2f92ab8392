"""The platform's authorities as Secret `okitoki-ca` of the operator's namespace keeps them.

Keys: `tls.crt`, `tls.key`: the authority that issues. `next.crt`, `next.key`: its successor, which is to be trusted
everywhere before it issues anything. `previous.crt`: its predecessor, while certificates of that one may be in use.
`cross.crt`: the authority certified by its predecessor. One Secret, so that every step of a rotation is one write
(docs/decisions/0021-authorities-overlap.md).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from okitoki.kube import labels, names
from okitoki.kube.client import ApiError, Client
from okitoki.kube.pki import Authority, KeyPair, certificate_ids, decode, encode, new_authority
from okitoki.kube.resources import SECRET, Manifest, annotation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuthoritySet:
    """The authorities at one moment."""

    current: Authority
    next: Authority | None = None
    previous: str = ""
    """PEM."""
    own: bool = True
    """The operator made them, and so may make the next; else an administrator puts it into the Secret."""
    requested: str = ""
    """Value of the annotation `renew-certificate`: somebody asks for an authority made at that time or later."""
    problem: str = ""
    """Why the successor that is in the Secret cannot be one."""
    data: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The Secret's values."""
    version: str = ""
    """The Secret's resourceVersion."""

    @property
    def bundle(self) -> str:
        """What whoever checks certificates trusts: all of them (PEM)."""
        parts = [self.current.certificate, self.next.certificate if self.next else "", self.previous]
        return "".join(f"{part.strip()}\n" for part in parts if part.strip())

    @cached_property
    def ids(self) -> frozenset[str]:
        """The authorities of `bundle`."""
        return certificate_ids(self.bundle)


class Authorities:
    """The authorities as the operator last read them; `latest` is replaced as a whole."""

    def __init__(self, latest: AuthoritySet) -> None:
        self.latest = latest


def authority_set(secret: Manifest) -> AuthoritySet:
    """The authorities of the Secret.

    Raises:
        ValueError: when it holds no CA.
    """
    metadata = secret.get("metadata") or {}
    data = {key: decode(value) for key, value in (secret.get("data") or {}).items()}
    try:
        current = Authority(KeyPair(data["tls.crt"], data["tls.key"]), data.get("cross.crt", ""))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"Secret {metadata.get('namespace')}/{names.CA_SECRET} holds no usable CA (tls.crt, tls.key): {error}"
        ) from error
    following, problem = _successor(current, data)
    return AuthoritySet(
        current=current,
        next=following,
        previous=data.get("previous.crt", ""),
        own=(metadata.get("labels") or {}).get(labels.MANAGED_BY) == labels.MANAGER,
        requested=annotation(secret, labels.RENEW_CERTIFICATE),
        problem=problem,
        data=data,
        version=str(metadata.get("resourceVersion", "")),
    )


def _successor(current: Authority, data: Mapping[str, str]) -> tuple[Authority | None, str]:
    if not {"next.crt", "next.key"} & set(data):
        return None, ""
    try:
        found = Authority(KeyPair(data["next.crt"], data["next.key"]))
    except KeyError as error:
        return None, f"{error.args[0]} is missing"
    except ValueError as error:
        return None, str(error).replace("tls.", "next.")
    if found.id == current.id:
        return None, "next.crt is the authority that issues already"
    return found, ""


async def load_authorities(client: Client, namespace: str, now: datetime) -> AuthoritySet:
    """The authorities in Secret `okitoki-ca` of the operator's namespace, made when there is none.

    An administrator may put a CA of the company there before the first start (type `kubernetes.io/tls`).

    Raises:
        ValueError: when the Secret holds no CA; it is never overwritten.
    """
    secret = await client.get(SECRET, names.CA_SECRET, namespace)
    if secret is None:
        made = new_authority(now)
        values = {"tls.crt": made.certificate, "tls.key": made.key}
        try:
            secret = await client.create(authority_secret(values, namespace))
            log.info("made the platform's certificate authority: Secret %s/%s", namespace, names.CA_SECRET)
        except ApiError as error:
            if error.status != 409:
                raise
            secret = await client.get(SECRET, names.CA_SECRET, namespace)
    return authority_set(secret or {"metadata": {"namespace": namespace}})


def authority_secret(values: Mapping[str, str], namespace: str, *, own: bool = True) -> Manifest:
    """The Secret that keeps the authorities."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.CA_SECRET,
            "namespace": namespace,
            **({"labels": labels.owned()} if own else {}),
        },
        "type": "kubernetes.io/tls",
        "data": {key: encode(value) for key, value in values.items()},
    }
