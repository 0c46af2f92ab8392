"""The real process over TLS: start, certificates, an orderly end."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.callcentre_app import ADMIN_KEY, EDGE_TOKEN, PLATFORM_TOKEN, RECORD, members_of
from support.postgres import PASSWORD, Server, eventually, free_port

from callcentre.server import Certificate
from callcentre.settings import SettingsError, load_settings

ENVIRONMENT = {
    "TENANT_NAME": "acme",
    "DB_MEMBERS": "postgres-0:5432",
    "DB_PASSWORD": PASSWORD,
    "PLATFORM_TOKEN": PLATFORM_TOKEN,
    "EDGE_TOKEN": EDGE_TOKEN,
    "ADMIN_API_KEY": ADMIN_KEY.text,
}


def write_certificate(directory: Path) -> bytes:
    """A self-signed certificate for localhost as tls.crt and tls.key; returns it in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (directory / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate.public_bytes(serialization.Encoding.DER)


async def presented(context: ssl.SSLContext) -> bytes:
    """The certificate that a server with this context presents to a new client, in DER."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    async with server:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
    assert isinstance(der, bytes)
    return der


async def test_a_new_certificate_is_used_and_a_wrong_pair_is_not(tmp_path: Path) -> None:
    first = write_certificate(tmp_path)
    certificate = Certificate(tmp_path / "tls.crt", tmp_path / "tls.key")
    assert not certificate.reload_if_changed()
    assert await presented(certificate.context) == first
    second = write_certificate(tmp_path)
    assert certificate.reload_if_changed()
    assert await presented(certificate.context) == second
    write_certificate(tmp_path / "..")
    (tmp_path / "tls.key").write_bytes((tmp_path / ".." / "tls.key").read_bytes())
    assert not certificate.reload_if_changed()
    assert await presented(certificate.context) == second


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("DB_MEMBERS", "postgres-0", "HOST:PORT"),
        ("ADMIN_API_KEY", "otk_secret-in-a-wrong-form", "otk_ \\+ 8 letters"),
        ("TENANT_NAME", "", "is not set"),
        ("EDGE_TOKEN", "short", "16 characters"),
        ("PORT", "https", "1 to 65535"),
    ],
)
def test_wrong_settings_name_the_variable_and_the_mend(name: str, value: str, mend: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}.*{mend}") as caught:
        load_settings({**ENVIRONMENT, name: value})
    assert "secret-in-a-wrong-form" not in str(caught.value)


def test_settings_hide_their_secrets() -> None:
    shown = repr(load_settings(ENVIRONMENT))
    for secret in (PASSWORD, PLATFORM_TOKEN, EDGE_TOKEN, ADMIN_KEY.secret):
        assert secret not in shown


@asynccontextmanager
async def process(
    tmp_path: Path, server: Server
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """`python -m callcentre`, and a client that trusts its certificate only."""
    write_certificate(tmp_path)
    port = free_port()
    environment = {
        **ENVIRONMENT,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DB_MEMBERS": members_of(server),
        "TLS_CERT_FILE": str(tmp_path / "tls.crt"),
        "TLS_KEY_FILE": str(tmp_path / "tls.key"),
        "PORT": str(port),
    }
    with (tmp_path / "log").open("wb") as log:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "callcentre", env=environment, stdout=log, stderr=log
        )
    client = httpx.AsyncClient(
        base_url=f"https://localhost:{port}",
        verify=ssl.create_default_context(cafile=str(tmp_path / "tls.crt")),
        headers={"Authorization": f"Bearer {ADMIN_KEY.text}"},
        timeout=30,
    )
    try:
        async with client, asyncio.timeout(110):
            while not await answers(client, 200):
                assert running.returncode is None, (tmp_path / "log").read_text()
                await asyncio.sleep(0.1)
            yield running, client
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def answers(client: httpx.AsyncClient, status: int) -> bool:
    """Whether `/readyz` answers with this status now."""
    try:
        return (await client.get("/readyz")).status_code == status
    except httpx.TransportError:
        return False


async def test_sigterm_ends_readiness_first_and_a_request_in_progress_is_answered(
    server: Server, tmp_path: Path
) -> None:
    async with process(tmp_path, server) as (running, client):
        assert (await client.get("/v1/agents")).json() == {"items": []}
        await asyncio.to_thread(server.configure, synchronous_standby_names="absent")
        try:
            headers = {"Idempotency-Key": str(uuid4())}
            writing = asyncio.create_task(client.post("/v1/call-records", json=RECORD, headers=headers))
            waiting = "select pid from pg_stat_activity where wait_event = 'SyncRep'"
            await asyncio.to_thread(eventually, lambda: bool(server.sql(waiting)), "the commit waits")
            running.send_signal(signal.SIGTERM)
            async with asyncio.timeout(3):
                while not await answers(client, 503):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            draining = await client.get("/healthz")
            assert (draining.status_code, draining.headers["connection"]) == (200, "close")
        finally:
            await asyncio.to_thread(server.configure, synchronous_standby_names="")
        assert (await writing).status_code in (200, 201)
        assert await asyncio.wait_for(running.wait(), 20) == 0
        log = (tmp_path / "log").read_text()
        for secret in (PASSWORD, PLATFORM_TOKEN, EDGE_TOKEN, ADMIN_KEY.secret):
            assert secret not in log
