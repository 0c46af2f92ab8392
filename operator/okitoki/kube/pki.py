"""A certificate authority and the server certificates it issues (RFC 5280). Nothing here writes anything."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from okitoki.kube.times import age_of_request

AUTHORITY_LIFETIME = timedelta(days=3650)
SERVER_LIFETIME = timedelta(days=365)
CLOCK_SKEW = timedelta(minutes=10)
"""A certificate is valid from this long before it was issued: clocks differ."""
ID_DIGITS = 16
KNOWN_LIMIT = 20_000
"""Certificates whose facts an authority remembers; beyond, it forgets all and reads again."""

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "KeyPair(…)"  # never a private key in a log


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is known of a server certificate and its key. `id`: see `certificate_id`."""

    id: str
    issued: datetime
    expires: datetime
    names: frozenset[str]
    own_key: bool
    """The key is the certificate's."""

    @property
    def due(self) -> datetime:
        """When it is renewed: at two thirds of its life."""
        return self.issued + (self.expires - self.issued) * 2 / 3


class Authority:
    """Issues and judges server certificates. The time is passed in. A certificate is read once, its facts are kept."""

    def __init__(self, pair: KeyPair, cross: str = "") -> None:
        """`cross`: the same authority certified by the one before it (PEM), shown to those who know only that one.

        Raises `ValueError` when the pair is no CA certificate with its key.
        """
        self.pair = pair
        self.certificate = pair.certificate
        self.cross = cross
        self._certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        self._key = _issuer_key(pair.key)
        if self._key.public_key() != self._certificate.public_key():
            raise ValueError("tls.key does not belong to tls.crt")
        try:
            constraints = self._certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:
            constraints = x509.BasicConstraints(ca=False, path_length=None)
        if not constraints.ca:
            raise ValueError("tls.crt is not the certificate of an authority (basicConstraints CA:TRUE)")
        self._may_certify = constraints.path_length is None or constraints.path_length > 0
        self.id = certificate_id(self._certificate)
        self._known: dict[bytes, Leaf | None] = {}

    def __repr__(self) -> str:
        return f"Authority({self.id})"

    @property
    def issued(self) -> datetime:
        """When it was made (UTC, whole seconds)."""
        return self._certificate.not_valid_before_utc + CLOCK_SKEW

    @property
    def expires(self) -> datetime:
        """When it ends (UTC)."""
        return self._certificate.not_valid_after_utc

    @property
    def due(self) -> datetime:
        """When it is replaced: at two thirds of its life."""
        return self.issued + (self.expires - self.issued) * 2 / 3

    def issue(self, dns_names: Sequence[str], now: datetime) -> KeyPair:
        """A server certificate for `dns_names` (the first is its common name, cut to 64 characters), valid a year, but
        not beyond its authority. `cross` follows it where that lives as long."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        # Of an authority that has ended nothing is valid; what is issued must still be a certificate.
        ends = max(min(now + SERVER_LIFETIME, self.expires), now)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(dns_names[0][:64]))
            .issuer_name(self._certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(self._key_identifier(), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        chain = _certificate_pem(certificate)
        if self.cross and x509.load_pem_x509_certificate(self.cross.encode()).not_valid_after_utc >= ends:
            chain += self.cross
        return KeyPair(chain, _key_pem(key))

    def certify(self, other: Authority, now: datetime) -> str:
        """`other` certified by this authority (PEM), so that who trusts only this one can follow a chain to it; empty
        when this authority's path length (RFC 5280, 4.2.1.9) or end forbids it."""
        ends = min(self.expires, other.expires)
        if not self._may_certify or ends <= now:
            return ""
        theirs = other._certificate
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(theirs.subject)
            .issuer_name(self._certificate.subject)
            .public_key(theirs.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(ends)
            .add_extension(constraints, critical=True)
            .add_extension(_AUTHORITY_USAGE, critical=True)
            .add_extension(_subject_identifier(theirs), critical=False)
            .add_extension(self._key_identifier(), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _certificate_pem(certificate)

    def leaf(self, pair: KeyPair | None) -> Leaf | None:
        """The facts of a server certificate that this authority has issued; None for anything else."""
        if pair is None:
            return None
        digest = hashlib.sha256(f"{pair.certificate}\0{pair.key}".encode()).digest()
        if digest not in self._known:
            if len(self._known) >= KNOWN_LIMIT:
                self._known.clear()
            self._known[digest] = self._read(pair)
        return self._known[digest]

    def unfit(self, pair: KeyPair | None, dns_names: Sequence[str], now: datetime, requested: str = "") -> str | None:
        """Why a server certificate must be issued anew, or None when it will do. `requested`: see `asks_for_newer`."""
        leaf = self.leaf(pair)
        if leaf is None:
            return "it is not a certificate of this authority"
        if not leaf.own_key:
            return "its key is another one's"
        if leaf.names != set(dns_names):
            return "its names changed"
        if asks_for_newer(requested, leaf.issued, now):
            return "a new one is asked for"
        # One that ends with its authority cannot be had with a longer life.
        if now >= leaf.due and leaf.expires < self.expires:
            return "two thirds of its life are over"
        return None

    def _read(self, pair: KeyPair) -> Leaf | None:
        try:
            certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
            certificate.verify_directly_issued_by(self._certificate)
            names_found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            own_key = _issuer_key(pair.key).public_key() == certificate.public_key()
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return None
        return Leaf(
            id=certificate_id(certificate),
            issued=certificate.not_valid_before_utc + CLOCK_SKEW,
            expires=certificate.not_valid_after_utc,
            names=frozenset(names_found.get_values_for_type(x509.DNSName)),
            own_key=own_key,
        )

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        found = _subject_identifier(self._certificate)
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)


_AUTHORITY_USAGE = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


def new_authority(now: datetime) -> KeyPair:
    """A self-signed CA, valid ten years. It may certify one successor (`Authority.certify`), and has a name of its own:
    two authorities of one name are hard to tell apart for whoever looks for an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _name(f"Oki-Toki platform CA {identifier.digest.hex()[:8]}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_AUTHORITY_USAGE, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_certificate_pem(certificate), _key_pem(key))


def asks_for_newer(requested: str, issued: datetime, now: datetime) -> bool:
    """Whether a request (`labels.RENEW_CERTIFICATE`) asks for a certificate that is newer than one issued at `issued`.

    A time that is still to come asks nothing: it would be asked for again and again until then.
    """
    if not requested or request_problem(requested, now):
        return False
    return issued < datetime.fromisoformat(requested).replace(microsecond=0) <= now


def request_problem(requested: str, now: datetime) -> str:
    """Why a request cannot be met, with the mend; empty when it can, or when there is none."""
    if not requested:
        return ""
    try:
        age = age_of_request(requested, now)
    except ValueError as error:
        return str(error)
    return f"the request is for {requested[:40]}, which is still to come: ask again" if -age > CLOCK_SKEW else ""


def certificate_id(certificate: x509.Certificate) -> str:
    """A certificate's name in statuses and reports: the first digits of its SHA-256 fingerprint, in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()[:ID_DIGITS]


def certificate_ids(pem: str) -> frozenset[str]:
    """The certificates of a bundle; what is none is passed over."""
    found = set()
    for block in _PEM.findall(pem):
        try:
            found.add(certificate_id(x509.load_pem_x509_certificate(block.encode())))
        except ValueError:
            continue
    return frozenset(found)


def encode(text: str) -> str:
    """Text as a Secret's `data` carries it."""
    return base64.b64encode(text.encode()).decode()


def decode(data: str) -> str:
    """A value of a Secret's `data` as text."""
    return base64.b64decode(data).decode()


def _subject_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())


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
