"""The platform's certificate authority and the server certificates it issues (RFC 5280)."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from okitoki.kube import labels, names
from okitoki.kube.client import ApiError, Client
from okitoki.kube.resources import SECRET, Manifest

log = logging.getLogger(__name__)

AUTHORITY_LIFETIME = timedelta(days=3650)
SERVER_LIFETIME = timedelta(days=365)
RENEW_BEFORE = SERVER_LIFETIME / 3
"""A server certificate is renewed when less than this is left."""
CLOCK_SKEW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "KeyPair(…)"  # never a private key in a log


class Authority:
    """Issues and judges server certificates. Pure: the time is passed in."""

    def __init__(self, pair: KeyPair) -> None:
        """Raises `ValueError` when the pair is no CA certificate with its key."""
        self.certificate = pair.certificate
        self._certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        self._key = _issuer_key(pair.key)
        if self._key.public_key() != self._certificate.public_key():
            raise ValueError("tls.key does not belong to tls.crt")
        constraints = self._certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca:
            raise ValueError("tls.crt is not the certificate of an authority (basicConstraints CA:TRUE)")

    def issue(self, dns_names: Sequence[str], now: datetime) -> KeyPair:
        """A server certificate for `dns_names` (the first is its common name, cut to 64 characters), valid a year."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate.public_key())  # type: ignore[arg-type]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(dns_names[0][:64]))
            .issuer_name(self._certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(min(now + SERVER_LIFETIME, self._certificate.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(issuer_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return KeyPair(_certificate_pem(certificate), _key_pem(key))

    def unfit(self, pair: KeyPair, dns_names: Sequence[str], now: datetime) -> str | None:
        """Why a server certificate must be issued anew, or None when it will do."""
        try:
            certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
            certificate.verify_directly_issued_by(self._certificate)
            names_found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            own_key = _issuer_key(pair.key).public_key() == certificate.public_key()
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return "it is not a certificate of this authority"
        if not own_key:
            return "its key is another one's"
        if set(names_found.get_values_for_type(x509.DNSName)) != set(dns_names):
            return "its names changed"
        if certificate.not_valid_after_utc - now < RENEW_BEFORE:
            return "it expires soon"
        return None


def new_authority(now: datetime) -> KeyPair:
    """A self-signed CA, valid ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Oki-Toki platform CA")
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_certificate_pem(certificate), _key_pem(key))


async def load_authority(client: Client, namespace: str, now: datetime) -> Authority:
    """The authority in Secret `okitoki-ca` of the operator's namespace, made when there is none.

    An administrator may put a CA of the company there before the first start (type `kubernetes.io/tls`).

    Raises:
        ValueError: when the Secret holds no CA; it is never overwritten.
    """
    secret = await client.get(SECRET, names.CA_SECRET, namespace)
    if secret is None:
        try:
            secret = await client.create(authority_secret(new_authority(now), namespace))
            log.info("made the platform's certificate authority: Secret %s/%s", namespace, names.CA_SECRET)
        except ApiError as error:
            if error.status != 409:
                raise
            secret = await client.get(SECRET, names.CA_SECRET, namespace)
    try:
        return Authority(key_pair(secret or {}))
    except (KeyError, ValueError, x509.ExtensionNotFound) as error:
        raise ValueError(
            f"Secret {namespace}/{names.CA_SECRET} holds no usable CA (tls.crt, tls.key): {error}"
        ) from error


def expiry(pair: KeyPair | None) -> datetime | None:
    """When the pair's certificate ends; None for what is no certificate (it is about to be made anew)."""
    try:
        return x509.load_pem_x509_certificate(pair.certificate.encode()).not_valid_after_utc if pair else None
    except ValueError:
        return None


def authority_secret(pair: KeyPair, namespace: str) -> Manifest:
    """The Secret that keeps the CA."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names.CA_SECRET, "namespace": namespace, "labels": labels.owned()},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": encode(pair.certificate), "tls.key": encode(pair.key)},
    }


def key_pair(secret: Manifest) -> KeyPair:
    """The pair in a Secret of type `kubernetes.io/tls`; raises `KeyError` when it lacks a key."""
    data = secret.get("data") or {}
    return KeyPair(decode(data["tls.crt"]), decode(data["tls.key"]))


def encode(text: str) -> str:
    """Text as a Secret's `data` carries it."""
    return base64.b64encode(text.encode()).decode()


def decode(data: str) -> str:
    """A value of a Secret's `data` as text."""
    return base64.b64decode(data).decode()


def _issuer_key(pem: str) -> CertificateIssuerPrivateKeyTypes:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not hasattr(key, "sign"):
        raise ValueError("the private key cannot sign")
    return key  # type: ignore[return-value]


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
