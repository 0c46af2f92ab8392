"""Names of certificates, as statuses and reports call them (docs/interfaces.md). Pure."""

import base64
import binascii
import hashlib
import re

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s(.+?)-----END CERTIFICATE-----", re.DOTALL)
ID_DIGITS = 16


def certificate_ids(pem: bytes) -> list[str]:
    """The first 16 hexadecimal digits of the SHA-256 fingerprint of each certificate in a PEM file, in its order; what
    is none is passed over."""
    found = []
    for body in _PEM.findall(pem):
        try:
            der = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error:
            continue
        found.append(hashlib.sha256(der).hexdigest()[:ID_DIGITS])
    return found
