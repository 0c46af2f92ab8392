"""SRTP for one call (RFC 3711), by libsrtp."""

from __future__ import annotations

from pylibsrtp import Error, Policy, Session

from okitoki_phones.sdp import Crypto


class Cipher:
    """Encrypts with one's own key and decrypts with the other side's, each with a roll-over counter that begins at 0
    and that no packet carries."""

    def __init__(self, own: Crypto, theirs: Crypto) -> None:
        self.refused = 0
        """Packets that came and were not what the other side's key says, or came twice."""
        self._out = Session(_policy(own, Policy.SSRC_ANY_OUTBOUND))
        self._in = Session(_policy(theirs, Policy.SSRC_ANY_INBOUND))

    def encrypt(self, packet: bytes) -> bytes:
        return bytes(self._out.protect(packet))

    def decrypt(self, packet: bytes) -> bytes | None:
        """None for what does not authenticate."""
        try:
            return bytes(self._in.unprotect(packet))
        except (Error, TypeError, ValueError):
            self.refused += 1
            return None


def _policy(crypto: Crypto, direction: int) -> Policy:
    return Policy(key=crypto.key, ssrc_type=direction, srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80)
