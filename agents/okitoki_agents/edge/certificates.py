"""The certificate of SIP over TLS: on disk for Kamailio's start, and into a running Kamailio."""

from __future__ import annotations

import logging
import ssl
import subprocess
import tempfile
from pathlib import Path

from okitoki_agents.edge import kamailio, store
from okitoki_agents.edge.facts import Paths

log = logging.getLogger(__name__)


class CertificateError(Exception):
    """A certificate that cannot be used; the message holds nothing of the key."""


def ensure(paths: Paths) -> None:
    """A certificate that nobody trusts, if there is none yet: Kamailio does not start without one, and calls over UDP
    must not wait for it."""
    if paths.sip_certificate.exists():
        return
    log.warning("no certificate for SIP over TLS yet: one that nobody trusts is in its place")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "-")
    made = subprocess.run(
        ["openssl", "req", "-x509", *key, "-subj", "/CN=not issued yet", "-days", "1"], capture_output=True, check=True
    )
    store.write_atomically(paths.sip_certificate, made.stdout)


class SipCertificate:
    """`want` says what Kamailio should serve, `converge` makes it so. `problem` is what stands against it."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._wanted: bytes | None = None
        # A Kamailio that runs since before this process may have read the file before its last change.
        self._told = False
        self.problem: str | None = "there is no certificate yet (Secret edge-tls)"

    def want(self, pem: bytes) -> None:
        """Chain and key."""
        if pem != self._wanted:
            self._wanted, self._told = pem, False

    def converge(self) -> None:
        """File first, so that a Kamailio that starts has it; then the running one. Raises OSError if the disk does."""
        if self._wanted is None or self._told:
            return
        try:
            self._install(self._wanted)
            kamailio.rpc(self._paths, "tls.reload")
            self._told, problem = True, None
        except (CertificateError, kamailio.KamailioError) as error:
            problem = str(error)
        except (ConnectionError, FileNotFoundError, TimeoutError):
            problem = "Kamailio does not answer"
        if problem != self.problem:
            log.log(logging.WARNING if problem else logging.INFO, "SIP over TLS: %s", problem or "certificate loaded")
        self.problem = problem

    def _install(self, pem: bytes) -> None:
        path = self._paths.sip_certificate
        if path.exists() and path.read_bytes() == pem:
            return
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".sip-tls.") as candidate:
            candidate.write(pem)
            candidate.flush()
            check(Path(candidate.name))
        store.write_atomically(path, pem)


def check(file: Path) -> None:
    """Raises CertificateError unless the file holds a certificate and its own key: Kamailio would not start with it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file)
    except (ssl.SSLError, ValueError) as error:
        raise CertificateError(
            f"the certificate and its key do not fit ({type(error).__name__}); the old stays"
        ) from error
