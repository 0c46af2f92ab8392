from __future__ import annotations

import pytest

from okitoki_phones.digest import Challenge, DigestError, authorization


def test_the_example_of_rfc_2617() -> None:
    challenge = Challenge.parse(
        'Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    header = authorization(
        challenge, username="Mufasa", password="Circle Of Life", method="GET", uri="/dir/index.html",
        client_nonce="0a4f113b",
    )  # fmt: skip
    assert 'response="6629fae49393a05397450978507c4ef1"' in header
    assert 'opaque="5ccc069c403ebaf9f0171e9517f40e41"' in header
    assert "nc=00000001" in header


def test_a_challenge_without_qop_is_answered_in_the_old_way() -> None:
    header = authorization(
        Challenge.parse('Digest realm="acme", nonce="n", stale=TRUE'),
        username="1001", password="s", method="REGISTER", uri="sip:acme.test",
    )  # fmt: skip
    assert "qop" not in header
    assert "cnonce" not in header


@pytest.mark.parametrize(
    "header", ['Basic realm="x"', 'Digest realm="x"', 'Digest realm="x", nonce="n", algorithm=SHA-256',
               'Digest realm="x", nonce="n", qop="auth-int"'],
)  # fmt: skip
def test_what_cannot_be_answered_is_said(header: str) -> None:
    with pytest.raises(DigestError):
        Challenge.parse(header)
