"""The platform's CA and the certificates it issues, checked by Python's own TLS."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from okitoki.kube.pki import RENEW_BEFORE, SERVER_LIFETIME, Authority, KeyPair, new_authority

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
    late = NOW + SERVER_LIFETIME - RENEW_BEFORE + timedelta(days=1)
    assert authority.unfit(pair, NAMES, late) == "it expires soon"
    assert authority.unfit(KeyPair(pair.certificate, other.key), NAMES, NOW) == "its key is another one's"
    stranger = Authority(new_authority(NOW)).issue(NAMES, NOW)
    assert authority.unfit(stranger, NAMES, NOW) == "it is not a certificate of this authority"
    assert authority.unfit(KeyPair("nonsense", "nonsense"), NAMES, NOW) == "it is not a certificate of this authority"


def test_only_a_ca_with_its_own_key_is_an_authority(authority: Authority) -> None:
    server = authority.issue(NAMES, NOW)
    with pytest.raises(ValueError, match="not the certificate of an authority"):
        Authority(server)
    with pytest.raises(ValueError, match="does not belong"):
        Authority(KeyPair(new_authority(NOW).certificate, new_authority(NOW).key))


def test_a_key_is_never_shown() -> None:
    assert "PRIVATE" not in repr(new_authority(NOW))


async def test_tls_accepts_it_for_its_names_and_no_other(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority(new_authority(now))
    pair = authority.issue(NAMES, now)
    (tmp_path / "crt").write_text(pair.certificate)
    (tmp_path / "key").write_text(pair.key)
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=server_tls)
    port = server.sockets[0].getsockname()[1]
    client_tls = ssl.create_default_context(cadata=authority.certificate)
    # Python 3.13 asks for RFC 5280 to the letter.
    client_tls.verify_flags |= ssl.VERIFY_X509_STRICT
    async with server:
        for name in NAMES:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_tls, server_hostname=name)
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=client_tls, server_hostname="other.test")
