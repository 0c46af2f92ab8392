"""The platform's CA and the certificates it issues, checked by Python's own TLS."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from support.tls import tls_server

from okitoki.kube import pki
from okitoki.kube.pki import (
    SERVER_LIFETIME,
    Authority,
    KeyPair,
    asks_for_newer,
    certificate_ids,
    new_authority,
    request_problem,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NAMES = ["app.tenant-acme.svc", "acme.kyiv.okitoki.test"]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(new_authority(NOW))


def test_a_fresh_certificate_is_fit(authority: Authority) -> None:
    assert authority.unfit(authority.issue(NAMES, NOW), NAMES, NOW) is None


def test_why_a_certificate_is_made_anew(authority: Authority) -> None:
    pair, other = authority.issue(NAMES, NOW), authority.issue(NAMES, NOW)
    assert authority.unfit(pair, [*NAMES, "acme.lviv.okitoki.test"], NOW) == "its names changed"
    assert authority.unfit(KeyPair(pair.certificate, other.key), NAMES, NOW) == "its key is another one's"
    stranger = Authority(new_authority(NOW)).issue(NAMES, NOW)
    assert authority.unfit(stranger, NAMES, NOW) == "it is not a certificate of this authority"
    assert authority.unfit(KeyPair("nonsense", "nonsense"), NAMES, NOW) == "it is not a certificate of this authority"
    assert authority.unfit(None, NAMES, NOW) == "it is not a certificate of this authority"


def test_it_is_renewed_at_two_thirds_of_its_life(authority: Authority) -> None:
    pair, due = authority.issue(NAMES, NOW), NOW + SERVER_LIFETIME * 2 / 3
    assert authority.unfit(pair, NAMES, due - timedelta(seconds=1)) is None
    assert authority.unfit(pair, NAMES, due + timedelta(seconds=1)) == "two thirds of its life are over"


@pytest.mark.parametrize("left", [timedelta(days=100), timedelta(hours=1), timedelta(days=-1)])
def test_an_authority_near_its_end_is_not_asked_for_new_certificates_in_each_reconcile(
    authority: Authority, left: timedelta
) -> None:
    """They end with it, so a new one is no better."""
    now = authority.expires - left
    pair = authority.issue(NAMES, now)
    for later in (timedelta(), timedelta(minutes=5), max(left, timedelta()) + timedelta(days=1)):
        assert authority.unfit(pair, NAMES, now + later) is None


def test_a_request_is_met_once_and_then_asks_for_nothing(authority: Authority) -> None:
    later = NOW + timedelta(days=1, milliseconds=700)
    pair, request = authority.issue(NAMES, NOW), later.isoformat()
    assert authority.unfit(pair, NAMES, later, request) == "a new one is asked for"
    renewed = authority.issue(NAMES, later)
    assert authority.unfit(renewed, NAMES, later, request) is None
    assert authority.unfit(renewed, NAMES, later, "2020-01-01T00:00:00Z") is None


def test_a_request_that_cannot_be_met_asks_nothing_and_says_why() -> None:
    """Else it would be met again and again until its time comes."""
    hour = (NOW + timedelta(hours=1)).isoformat()
    for request in (hour, (NOW + timedelta(minutes=1)).isoformat(), "soon", "2026-11-24T12:00:00", ""):
        assert not asks_for_newer(request, NOW - timedelta(days=1), NOW)
    assert "still to come" in request_problem(hour, NOW)
    assert "no time with a zone" in request_problem("soon", NOW)
    assert "no time with a zone" in request_problem("2026-11-24T12:00:00", NOW)
    assert request_problem("", NOW) == request_problem(NOW.isoformat(), NOW) == ""


def test_a_certificate_is_read_once(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, reads, real = authority.issue(NAMES, NOW), [], x509.load_pem_x509_certificate
    monkeypatch.setattr(pki.x509, "load_pem_x509_certificate", lambda pem: (reads.append(1), real(pem))[1])
    for _ in range(5):
        assert authority.unfit(pair, NAMES, NOW) is None
        assert authority.leaf(pair) is not None
    assert len(reads) == 1


def test_only_a_ca_with_its_own_key_is_an_authority(authority: Authority) -> None:
    server = authority.issue(NAMES, NOW)
    with pytest.raises(ValueError, match="not the certificate of an authority"):
        Authority(server)
    with pytest.raises(ValueError, match="does not belong"):
        Authority(KeyPair(new_authority(NOW).certificate, new_authority(NOW).key))


def test_a_key_is_never_shown(authority: Authority) -> None:
    assert "PRIVATE" not in repr(new_authority(NOW)) + repr(authority)


def test_ids_of_a_bundle(authority: Authority) -> None:
    other = Authority(new_authority(NOW))
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert certificate_ids(authority.certificate + broken + other.certificate) == {authority.id, other.id}
    assert certificate_ids("") == frozenset()


async def shake_hands(port: int, trusted: str, name: str) -> None:
    """Raises ssl.SSLCertVerificationError."""
    tls = ssl.create_default_context(cadata=trusted)
    # Python 3.13 asks for RFC 5280 to the letter.
    tls.verify_flags |= ssl.VERIFY_X509_STRICT
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    writer.close()


async def test_tls_accepts_it_for_its_names_and_no_other(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority(new_authority(now))
    async with tls_server(tmp_path, authority.issue(NAMES, now)) as port:
        for name in NAMES:
            await shake_hands(port, authority.certificate, name)
        with pytest.raises(ssl.SSLCertVerificationError):
            await shake_hands(port, authority.certificate, "other.test")


async def test_who_knows_only_the_old_authority_or_only_the_new_one_accepts_the_new_ones_certificate(
    tmp_path: Path,
) -> None:
    now = datetime.now(UTC)
    old, new = Authority(new_authority(now)), Authority(new_authority(now))
    crossed = Authority(new.pair, old.certify(new, now))
    async with tls_server(tmp_path, crossed.issue(NAMES, now)) as port:
        for trusted in (old.certificate, new.certificate, old.certificate + new.certificate):
            await shake_hands(port, trusted, NAMES[0])
        with pytest.raises(ssl.SSLCertVerificationError):
            await shake_hands(port, Authority(new_authority(now)).certificate, NAMES[0])


def test_a_cross_certificate_that_ends_before_the_server_certificate_is_left_out() -> None:
    """Some clients refuse a chain for a certificate in it that has ended, though they do not need it."""
    old, new = Authority(new_authority(NOW)), Authority(new_authority(NOW + timedelta(days=3000)))
    crossed = Authority(new.pair, old.certify(new, NOW + timedelta(days=3000)))
    early, late = (crossed.issue(NAMES, NOW + timedelta(days=days)) for days in (3001, 3600))
    assert len(certificate_ids(early.certificate)) == 2
    assert len(certificate_ids(late.certificate)) == 1
    assert old.certify(new, old.expires) == ""
