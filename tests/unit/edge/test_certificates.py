"""The certificate of SIP over TLS, against a double of Kamailio's RPC."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from unit.edge.support import facts

from okitoki_agents.edge import certificates, kamailio
from okitoki_agents.edge.certificates import SipCertificate
from okitoki_agents.edge.facts import Paths


def pem(name: str = "*.kyiv.okitoki.test") -> bytes:
    return bytes(trustme.CA().issue_cert(name).private_key_and_cert_chain_pem.bytes())


class Kamailio:
    def __init__(self) -> None:
        self.loaded: list[bytes] = []
        self.problem: Exception | None = None

    def rpc(self, paths: Paths, method: str, *parameters: str, **_: Any) -> None:
        if self.problem is not None:
            raise self.problem
        assert method == "tls.reload"
        self.loaded.append(paths.sip_certificate.read_bytes())


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Kamailio:
    made = Kamailio()
    monkeypatch.setattr(kamailio, "rpc", made.rpc)
    return made


def test_a_new_certificate_is_loaded_once(tmp_path: Path, running: Kamailio) -> None:
    certificate, first, second = SipCertificate(facts(tmp_path).paths), pem(), pem()
    facts(tmp_path).paths.data.mkdir()
    for wanted in (first, first, second, second):
        certificate.want(wanted)
        certificate.converge()
    assert running.loaded == [first, second]
    assert certificate.problem is None


def test_it_is_on_disk_for_the_next_start_and_loaded_once_kamailio_answers(tmp_path: Path, running: Kamailio) -> None:
    paths, wanted = facts(tmp_path).paths, pem()
    paths.data.mkdir()
    certificate, running.problem = SipCertificate(paths), FileNotFoundError()
    certificate.want(wanted)
    certificate.converge()
    assert (paths.sip_certificate.read_bytes(), certificate.problem) == (wanted, "Kamailio does not answer")
    running.problem = None
    certificate.converge()
    assert (running.loaded, certificate.problem) == ([wanted], None)


@pytest.mark.parametrize("cut", [0, 200])
def test_a_broken_edit_leaves_the_old_certificate_and_tells_nothing_of_the_key(
    tmp_path: Path, running: Kamailio, cut: int
) -> None:
    paths, good = facts(tmp_path).paths, pem()
    paths.data.mkdir()
    certificate = SipCertificate(paths)
    certificate.want(good)
    certificate.converge()
    key = pem().partition(b"-----BEGIN CERTIFICATE")[0]
    broken = good[:cut] + key if cut else key + good[good.index(b"-----BEGIN CERTIFICATE") :]
    certificate.want(broken)
    certificate.converge()
    assert running.loaded == [good]
    assert paths.sip_certificate.read_bytes() == good
    assert "the old stays" in (certificate.problem or "")
    assert "PRIVATE" not in (certificate.problem or "")


def test_kamailio_has_something_to_start_with(tmp_path: Path) -> None:
    paths = facts(tmp_path).paths
    certificates.ensure(paths)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(paths.sip_certificate)
    assert paths.sip_certificate.stat().st_mode & 0o077 == 0
    before = paths.sip_certificate.read_bytes()
    certificates.ensure(paths)
    assert paths.sip_certificate.read_bytes() == before
