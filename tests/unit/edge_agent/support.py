"""Objects as the API server gives them, a certificate for a test server, and facts of a region."""

import base64
import ipaddress
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from okitoki_agents.edge.agent.tenants import EdgeTenant
from okitoki_agents.edge.facts import Facts, Paths, parse_region

TOKEN = "t" * 32
TENANT = {
    "tenant": "acme",
    "host": "acme.kyiv.okitoki.test",
    "numbers": ["+380441234567", "+380441234568"],
    "namespace": "tenant-acme",
    "service": "app",
    "port": 8443,
    "serverName": "app.tenant-acme.svc",
    "edgeToken": TOKEN,
    "landlines": {"+380441234567": ["+380447654321"]},
}
FEED = {
    "tenant": "acme",
    "realm": "acme",
    "numbers": [{"number": "+380441234567", "queue": "sales"}],
    "queues": {"sales": ["1001", "1002"], "empty": []},
    "agents": [{"username": "1001", "ha1": "0" * 32}, {"username": "1002", "ha1": "a" * 32}],
}
REGION = {
    "region": "kyiv",
    "domain": "kyiv.okitoki.test",
    "namespace": "okitoki-region-kyiv",
    "addresses": {"sip": "198.18.16.200", "https": "198.18.16.203", "media": ["198.18.16.201", "198.18.16.202"]},
    "ports": {
        "sip": 5060,
        "sips": 5061,
        "https": 443,
        "dmq": 5070,
        "redis": 16379,
        "ng": [2223, 2224],
        "cli": [9901, 9902],
        "agent": 9780,
        "tunnel": 51840,
    },
    "tunnel": {"interface": "okitoki-wg0", "table": 20500},
    "aliases": {"media": ["198.18.255.1", "198.18.255.2"], "peer": "198.18.255.3"},
    "mediaPorts": {"from": 30000, "to": 30999},
    "vrrp": {"advertIntervalMilliseconds": 100, "routerIds": {"sip": 51, "https": 52, "media": [53, 54]}},
    "carriers": [{"name": "main", "hosts": ["198.18.16.150"], "probeSeconds": 5}],
}


def tenant(**changes: Any) -> EdgeTenant:
    """A tenant as the agent holds it."""
    document = {**TENANT, **changes}
    landlines = {number: tuple(found) for number, found in document["landlines"].items()}
    return EdgeTenant(**{**document, "numbers": tuple(document["numbers"]), "landlines": landlines})


def tenant_secret(name: str = "acme", **changes: Any) -> dict[str, Any]:
    """Secret `edge-tenant-NAME`."""
    document = {**TENANT, "tenant": name, "host": f"{name}.kyiv.okitoki.test", **changes}
    return {
        "metadata": {
            "name": f"edge-tenant-{name}",
            "resourceVersion": "1",
            "labels": {"platform.oki-toki.net/edge-tenant": name},
        },
        "data": {"tenant.json": base64.b64encode(json.dumps(document).encode()).decode()},
    }


def facts(folder: Path, ports: dict[str, Any] | None = None) -> Facts:
    """Facts of node 127.0.0.1 with all files in `folder`."""
    region = parse_region(REGION)
    return Facts(
        region=replace(region, ports=replace(region.ports, **(ports or {}))),
        node_ip="127.0.0.1",
        pod_name="edge-0",
        pod_namespace="okitoki-region-kyiv",
        redis_password="p" * 32,
        nonce_secret="n" * 32,
        paths=Paths(run=folder / "run", data=folder / "data"),
    )


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for `name`, which is its own CA: (certificate, key) files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("203.0.113.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file
