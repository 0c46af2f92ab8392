"""An HTTPS server with the call-record API, honest unless told otherwise."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "acme.kyiv.okitoki.test"
KEY = "otk_abc_secret"


def certificate(folder: Path, host: str = HOST) -> tuple[ssl.SSLContext, Path]:
    """A server context for a host name, and the CA file to verify it with (it signs itself)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "ca.crt", folder / "tls.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return context, certificate_file


class Store:
    """The server's state. `fault` may answer in its place, or spoil what it stores."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.requests = 0
        self.hosts: set[str] = set()
        self.fault: Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse | None]] | None = None
        self.agents: set[str] = set()
        self.queues: dict[str, list[str]] = {}

    async def post(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.hosts.add(request.host)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"code": "unauthorized", "message": "no"}}, status=401)
        record = {**await request.json(), "id": request.headers["Idempotency-Key"]}
        if self.fault is not None and (answer := await self.fault(request, record)) is not None:
            return answer
        return self.store(record)

    def store(self, record: dict[str, Any]) -> web.Response:
        known = next((one for one in self.records if one["id"] == record["id"]), None)
        if known is None:
            self.records.append(record)
        return web.json_response(record, status=201 if known is None else 200)

    async def get(self, request: web.Request) -> web.StreamResponse:
        found = sorted(
            (one for one in self.records if one["startedAt"] >= request.query["from"] and self.matches(one, request)),
            key=lambda one: (one["startedAt"], one["id"]),
            reverse=True,
        )
        begin, size = int(request.query.get("cursor", "0")), 7
        following = str(begin + size) if begin + size < len(found) else None
        return web.json_response({"items": found[begin : begin + size], "next": following})

    @staticmethod
    def matches(record: dict[str, Any], request: web.Request) -> bool:
        return request.query.get("number") in {None, record.get("number")}

    async def get_one(self, request: web.Request) -> web.StreamResponse:
        found = next((one for one in self.records if one["id"] == request.match_info["id"]), None)
        if found is None:
            return web.json_response({"error": {"code": "not_found", "message": "no"}}, status=404)
        return web.json_response(found)

    async def post_agent(self, request: web.Request) -> web.StreamResponse:
        username = (await request.json())["username"]
        if username in self.agents:
            return web.json_response({"error": {"code": "conflict", "message": "is there"}}, status=409)
        self.agents.add(username)
        return web.json_response({"username": username, "sipSecret": f"first-{username}"}, status=201)

    async def post_secret(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"sipSecret": f"second-{request.match_info['username']}"})

    async def put_queue(self, request: web.Request) -> web.StreamResponse:
        self.queues[request.match_info["name"]] = (await request.json())["agents"]
        return web.json_response({})

    async def start(self, context: ssl.SSLContext) -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.router.add_post("/v1/call-records", self.post)
        app.router.add_get("/v1/call-records", self.get)
        app.router.add_get("/v1/call-records/{id}", self.get_one)
        app.router.add_post("/v1/agents", self.post_agent)
        app.router.add_post("/v1/agents/{username}/sip-secret", self.post_secret)
        app.router.add_put("/v1/queues/{name}", self.put_queue)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        return runner, runner.addresses[0][1]
