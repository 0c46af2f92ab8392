"""A real API server on loopback: etcd and kube-apiserver, no kubelet, no controllers."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import kopf
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from okitoki.kube.pki import Authority, new_authority
from okitoki_local import gobuild
from okitoki_local.environment import cache_folder

START_SECONDS = 300
ADMIN = "admin"


def binary(name: str) -> str:
    """The tool from the project's cache, or an error that says how to get it."""
    path = gobuild.tools_folder(cache_folder()) / name
    if not path.exists():
        raise RuntimeError(f"{path} is missing: run `make cluster-tools`")
    return str(path)


@contextmanager
def api_server(
    folder: Path, *, users: Sequence[str] = (), options: Sequence[str] = ()
) -> Iterator[kopf.ConnectionInfo]:
    """Start both, yield how to reach the API server as administrator, stop both.

    `users` are further administrators, told apart in the audit log (`as_user`); `options` are kube-apiserver's.
    """
    etcd_binary, server_binary = binary("etcd"), binary("kube-apiserver")
    client_port, peer_port, api_port = _free_ports(3)
    tokens = {user: secrets.token_hex(16) for user in (ADMIN, *users)}
    lines = [f"{token},{user},{user},system:masters\n" for user, token in tokens.items()]
    (folder / "tokens.csv").write_text("".join(lines))
    _service_account_key(folder / "sa.key")
    _certificates(folder)
    etcd = _start(folder / "etcd.log", [
        etcd_binary, "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
        "--quota-backend-bytes", str(8 * 2**30),
        "--listen-client-urls", f"http://127.0.0.1:{client_port}",
        "--advertise-client-urls", f"http://127.0.0.1:{client_port}",
        "--listen-peer-urls", f"http://127.0.0.1:{peer_port}",
        "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer_port}",
        "--initial-cluster", f"default=http://127.0.0.1:{peer_port}",
    ])  # fmt: skip
    try:
        server = _start(folder / "apiserver.log", [
            server_binary, "--etcd-servers", f"http://127.0.0.1:{client_port}", "--cert-dir", str(folder / "certs"),
            "--tls-cert-file", str(folder / "tls.crt"), "--tls-private-key-file", str(folder / "tls.key"),
            "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", str(api_port),
            "--token-auth-file", str(folder / "tokens.csv"),
            "--authorization-mode", "RBAC", "--allow-privileged=true",
            "--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "198.19.128.0/17",
            "--disable-admission-plugins", "ServiceAccount",
            "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", str(folder / "sa.key"),
            "--service-account-signing-key-file", str(folder / "sa.key"), *options,
        ])  # fmt: skip
        try:
            _wait_ready(server, api_port, folder)
            yield kopf.ConnectionInfo(
                server=f"https://localhost:{api_port}", ca_path=str(folder / "ca.crt"), token=tokens[ADMIN]
            )
        finally:
            _stop(server)
    finally:
        _stop(etcd)
        shutil.rmtree(folder / "etcd", ignore_errors=True)


def as_user(connection: kopf.ConnectionInfo, folder: Path, user: str) -> kopf.ConnectionInfo:
    """How one of `users` reaches the API server that was started in `folder`."""
    tokens = {name: token for token, name, *_ in (line.split(",") for line in (folder / "tokens.csv").open())}
    return kopf.ConnectionInfo(server=connection.server, ca_path=connection.ca_path, token=tokens[user])


def kubeconfig(connection: kopf.ConnectionInfo, path: Path) -> Path:
    """A kubeconfig file for kubectl and for the operator's own process."""
    path.write_text(
        '{"apiVersion": "v1", "kind": "Config", "current-context": "api-test",'
        ' "contexts": [{"name": "api-test", "context": {"cluster": "c", "user": "u"}}],'
        f' "clusters": [{{"name": "c", "cluster": {{"server": "{connection.server}",'
        f' "certificate-authority": "{connection.ca_path}"}}}}],'
        f' "users": [{{"name": "u", "user": {{"token": "{connection.token}"}}}}]}}\n'
    )
    path.chmod(0o600)
    return path


def _start(log: Path, command: list[str]) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(log.parent)}
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_ready(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    last: Exception | None = None
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
            with urllib.request.urlopen(f"https://localhost:{port}/readyz", context=context, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError) as error:
            last = error
        time.sleep(0.2)
    tail = (folder / "apiserver.log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"kube-apiserver is not ready after {START_SECONDS} s: {last}; {tail}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _certificates(folder: Path) -> None:
    now = datetime.now(UTC)
    ca = new_authority(now)
    server = Authority(ca).issue(["localhost"], now)
    (folder / "ca.crt").write_text(ca.certificate)
    (folder / "tls.crt").write_text(server.certificate)
    (folder / "tls.key").write_text(server.key)


def _service_account_key(path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
