"""SIP over TLS and SRTP on the two-node lab: what phones and the region agree on. (Faults: drill.py --encrypted.)

    PYTHONPATH=operator:agents:loadtests python tests/edge/encryption.py --tree TREE --site SITE [CASE...]

A line for each CASE. Exit code 0 only if each was as it must be.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import lab as labs
import trustme
from cases import run_cases
from drill import Drills, records, redis
from lab import Lab, wait_until
from phones import HOST, Phones, summary

from okitoki_phones.judge import COMPLETED

CALLS = 4
_HANDSHAKE = """
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or this side would refuse the older versions by itself
context.maximum_version = context.minimum_version = ssl.TLSVersion[sys.argv[3]]
with socket.create_connection((sys.argv[2], 5061), 3) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[4]) as secure:
        print(secure.version(), secure.cipher()[0])
"""
_RELOAD = "from okitoki_agents.edge import kamailio; from okitoki_agents.edge.facts import Paths; " + (
    "kamailio.rpc(Paths(), 'tls.reload')"
)


class Encryption:
    """Each case is a method `c_NAME`; it returns what it saw and whether that is right."""

    def __init__(self, lab: Lab, out: Path) -> None:
        self.lab, self.out = lab, out
        self.drills = Drills(lab)

    def _handshake(self, version: str, authority: Path | None = None) -> str:
        """What a client that knows only `version` comes to."""
        words = (str(authority or self.lab.work / "ca.pem"), labs.SIP, version, HOST)
        command = ["ip", "netns", "exec", "vc-c", sys.executable, "-W", "ignore", "-c", _HANDSHAKE, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    def _phones(self, name: str, encrypted: str = "agents") -> Phones:
        for node in self.lab.nodes:
            redis(node, "FLUSHDB")
        phones = Phones(self.lab, self.out / name, CALLS)
        phones.encrypt(encrypted)
        phones.publish()
        return phones

    def _call(self, phones: Phones) -> None:
        phones.register()
        phones.call()
        wait_until("calls to be answered", lambda: len(records(self.drills.holder())) >= CALLS, 30)
        time.sleep(2)

    def c_versions(self) -> tuple[str, bool]:
        """TLS 1.2 and 1.3, nothing older."""
        seen = {version: self._handshake(version) for version in ("TLSv1_1", "TLSv1_2", "TLSv1_3")}
        good = seen["TLSv1_2"].startswith("TLSv1.2") and seen["TLSv1_3"].startswith("TLSv1.3")
        return str(seen), good and "alert" in seen["TLSv1_1"].lower()

    def c_reload(self) -> tuple[str, bool]:
        """Another certificate, of another CA, while phones are connected and talk: new connections see it, the old ones
        and the calls go on."""
        phones = self._phones("reload")
        try:
            self._call(phones)
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(self.lab.work / "ca-2.pem"))
            before = self._handshake("TLSv1_3", self.lab.work / "ca-2.pem")
            self._install(authority.issue_cert(f"*.{labs.REGION['domain']}"))
            after = self._handshake("TLSv1_3", self.lab.work / "ca-2.pem")
            self._install(self.lab.certificate)
            verdicts = phones.finish()
        finally:
            phones.close()
        good = "CERTIFICATE_VERIFY_FAILED" in before and after.startswith("TLSv1.3")
        good = good and all(verdict.outcome == COMPLETED for verdict in verdicts)
        return f"before {before}; after {after} | {summary(verdicts)}", good

    def _install(self, certificate: trustme.LeafCert) -> None:
        for node in self.lab.nodes:
            (node.data / "sip-tls.pem").write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
            node.run("python3", "-c", _RELOAD)

    def c_without_srtp(self) -> tuple[str, bool]:
        """Phones that register over TLS and know no SRTP are asked again, for plain audio."""
        phones = self._phones("without_srtp")
        phones.agents_config["srtp"] = False
        try:
            self._call(phones)
            verdicts = phones.finish()
        finally:
            phones.close()
        found = Counter(r["encrypted"] for r in phones.records() if r["establishedAt"])
        good = all(verdict.outcome == COMPLETED for verdict in verdicts) and set(found) == {False}
        return f"{summary(verdicts)}, encrypted {dict(found)}", good

    def c_both_sides(self) -> tuple[str, bool]:
        """SRTP at both ends."""
        phones = self._phones("both_sides", "both")
        try:
            self._call(phones)
            verdicts = phones.finish()
        finally:
            phones.close()
        good = all(verdict.outcome == COMPLETED for verdict in verdicts) and phones.encrypted_as_told()
        return summary(verdicts), good


if __name__ == "__main__":
    sys.exit(run_cases(__doc__, Encryption))
