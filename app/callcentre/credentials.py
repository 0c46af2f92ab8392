"""API keys and SIP secrets: how they are made and what of them is stored. Pure but for the system's random source."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field

_KEY = re.compile(r"otk_([A-Za-z0-9]{8})_([A-Za-z0-9_-]{43})", re.ASCII)
_ALPHANUMERIC = string.ascii_letters + string.digits

SIP_SECRET_LENGTH = 24
"""Letters and digits only, since people type them into phones: 24 of 62 are 142 bits."""


@dataclass(frozen=True)
class ApiKey:
    """`otk_PREFIX_SECRET`: 8 letters or digits to find it by, and 32 random bytes in base64url.

    A secret of 256 random bits cannot be guessed, so one SHA-256 (no salt, no slow hash) is enough to store it.
    """

    prefix: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> ApiKey:
        prefix = "".join(secrets.choice(_ALPHANUMERIC) for _ in range(8))
        return cls(prefix, secrets.token_urlsafe(32))

    @classmethod
    def parse(cls, text: str) -> ApiKey | None:
        """The key, or None when `text` has not its form."""
        match = _KEY.fullmatch(text)
        return cls(match[1], match[2]) if match else None

    @property
    def text(self) -> str:
        return f"otk_{self.prefix}_{self.secret}"

    @property
    def digest(self) -> bytes:
        """SHA-256 of the secret: what is stored."""
        return hashlib.sha256(self.secret.encode("ascii")).digest()


def same_secret(given: str, expected: str) -> bool:
    """Compare in constant time, also for characters outside ASCII."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def generate_sip_secret() -> str:
    """A secret for one phone; shown once, never stored."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(SIP_SECRET_LENGTH))


def ha1(username: str, realm: str, secret: str) -> str:
    """H(A1) of SIP's digest authentication with MD5 (RFC 3261 22.4, RFC 2617 3.2.2.2), which is what phones speak.

    Whoever has it can register as this agent, so it is kept like a secret; it reveals nothing of other credentials,
    because the secret is random and used nowhere else.
    """
    return hashlib.md5(f"{username}:{realm}:{secret}".encode(), usedforsecurity=False).hexdigest()
