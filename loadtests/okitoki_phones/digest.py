"""Digest authentication as SIP uses it (RFC 2617, RFC 7616 with MD5, RFC 3261 section 22)."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

FIELD = re.compile(r"""([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))""")


class DigestError(ValueError):
    """The challenge is of a kind that this client cannot answer."""


def md5(text: str) -> str:
    # Not a choice: SIP registrars speak MD5 digest; the secrets are generated, long and used for nothing else.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Challenge:
    """A `WWW-Authenticate` or `Proxy-Authenticate` header."""

    realm: str
    nonce: str
    opaque: str | None = None
    qop: str | None = None
    stale: bool = False

    @classmethod
    def parse(cls, header: str) -> Challenge:
        scheme, _, rest = header.strip().partition(" ")
        if scheme.lower() != "digest":
            raise DigestError(f"the server asks for {scheme!r}, not for Digest")
        fields = {name.lower(): quoted or plain for name, quoted, plain in FIELD.findall(rest)}
        if fields.get("algorithm", "MD5").upper() != "MD5":
            raise DigestError(f"the server asks for algorithm {fields['algorithm']!r}; only MD5 is known here")
        if "realm" not in fields or "nonce" not in fields:
            raise DigestError("the challenge has no realm or no nonce")
        offered = [option.strip().lower() for option in fields.get("qop", "").split(",") if option.strip()]
        if offered and "auth" not in offered:
            raise DigestError(f"the server asks for qop {fields['qop']!r}; only auth is known here")
        stale = fields.get("stale", "").lower() == "true"
        return cls(fields["realm"], fields["nonce"], fields.get("opaque"), "auth" if offered else None, stale)


def authorization(
    challenge: Challenge,
    *,
    username: str,
    password: str,
    method: str,
    uri: str,
    count: int = 1,
    client_nonce: str | None = None,
) -> str:
    """The value of the `Authorization` header that answers a challenge; `count` is the nonce's use count."""
    ha1 = md5(f"{username}:{challenge.realm}:{password}")
    ha2 = md5(f"{method}:{uri}")
    fields = {
        "username": username,
        "realm": challenge.realm,
        "nonce": challenge.nonce,
        "uri": uri,
    }
    extra = ""
    if challenge.qop is None:
        answer = md5(f"{ha1}:{challenge.nonce}:{ha2}")
    else:
        cnonce = client_nonce or secrets.token_hex(8)
        answer = md5(f"{ha1}:{challenge.nonce}:{count:08x}:{cnonce}:{challenge.qop}:{ha2}")
        fields["cnonce"] = cnonce
        extra = f", qop={challenge.qop}, nc={count:08x}"
    if challenge.opaque is not None:
        fields["opaque"] = challenge.opaque
    fields["response"] = answer
    quoted = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    return f"Digest {quoted}, algorithm=MD5{extra}"
