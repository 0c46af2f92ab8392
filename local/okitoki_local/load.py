"""`make load`: Locust on a tenant of the local cluster, in a container with an address of its own, as in real life."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from okitoki_local.demo import layout, platform
from okitoki_local.demo.containers import WORK, confined
from okitoki_local.demo.layout import Addresses, TenantPlan
from okitoki_local.demo.stage import placed
from okitoki_local.environment import PACKAGE_ROOT, Environment
from okitoki_local.progress import say
from okitoki_local.system import LocalClusterError, locked

SOURCES = "/opt/okitoki/src"
WEB_PORT = 8089
# What only this run may know; taken away at its end.
SECRETS = ("key", "secrets.json", "config.json")


@dataclass(frozen=True)
class LoadTest:
    """What the command line chooses. `agents`: phones; `words`: further arguments of Locust."""

    tenant: str
    agents: int = 0
    web: bool = False
    words: tuple[str, ...] = ()


def load_test(env: Environment, chosen: LoadTest) -> int:
    """Run it; Locust's exit code, which is the verdict's."""
    objects, addresses = placed(env, layout.EXAMPLES, must_exist=True)
    tenants = {tenant.name: tenant for tenant in layout.tenants_of(objects)}
    if chosen.tenant not in tenants:
        raise LocalClusterError(f"there is no tenant {chosen.tenant!r} in {layout.EXAMPLES}: {', '.join(tenants)}")
    tenant = tenants[chosen.tenant]
    if chosen.agents > len(tenant.agents):
        raise LocalClusterError(f"{tenant.name} has {len(tenant.agents)} agents, not {chosen.agents}")
    image = platform.image_references(env)["phones"]
    folder = PACKAGE_ROOT.parent / "build" / "load" / tenant.name
    # Only one may have the carrier's address, and the demo kills servers under what is measured here.
    with locked(env.state / "demo.lock", "the demo"), secrets_in(env, folder, tenant):
        own = addresses.carrier if chosen.agents else addresses.tool
        if chosen.agents:
            _provision(env, image, folder, addresses, tenant, tenant.agents[: chosen.agents])
        if chosen.web:
            say(f"Locust's page: http://{own}:{WEB_PORT} (in the cluster's network)")
        command = ["locust", *arguments(chosen, tenant, addresses)]
        return _container(env, image, folder, own, command)


def arguments(chosen: LoadTest, tenant: TenantPlan, addresses: Addresses) -> list[str]:
    """Locust's arguments; the user's come last, so that they win."""
    files = [f"{SOURCES}/locustfile.py"]
    phones: list[str] = []
    if chosen.agents:
        files.append(f"{SOURCES}/locustfile_sip.py")
        phones = [
            *("--sip", addresses.sip, "--trunk", addresses.carrier, "--agents-file", f"{WORK}/secrets.json"),
            *("--agents", str(chosen.agents), "--callers", "1"),
        ]
    return [
        *("-f", ",".join(files), "--host", f"https://{tenant.host}", "--address", addresses.https),
        *("--ca-file", f"{WORK}/ca.crt", "--api-key-file", f"{WORK}/key", "--numbers", tenant.number),
        *("--ledger", f"{WORK}/results", *([] if chosen.web else ["--headless"]), *phones, *chosen.words),
    ]


@contextlib.contextmanager
def secrets_in(env: Environment, folder: Path, tenant: TenantPlan) -> Iterator[None]:
    """The tenant's API key and CA in the folder, the key for as long as the run lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _write_secret(folder / "key", platform.api_key(env, tenant))
        (folder / "ca.crt").write_text(platform.authority(env, tenant), encoding="utf-8")
        yield
    finally:
        for name in SECRETS:
            (folder / name).unlink(missing_ok=True)


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _provision(
    env: Environment, image: str, folder: Path, addresses: Addresses, tenant: TenantPlan, agents: Sequence[str]
) -> None:
    """The agents in the tenant's queue, and their secrets in the folder."""
    config: Mapping[str, object] = {
        "address": addresses.https, "host": tenant.host, "ca": f"{WORK}/ca.crt", "key_file": f"{WORK}/key",
        "queues": {tenant.queue: list(agents)},
    }  # fmt: skip
    _write_secret(folder / "config.json", json.dumps(config))
    command = ["python", "-m", "okitoki_load", "provision", "--config", f"{WORK}/config.json", "--out", WORK]
    if _container(env, image, folder, addresses.tool, command):
        raise LocalClusterError(f"the agents of {tenant.name} could not be made; the reason is above")


def _container(env: Environment, image: str, folder: Path, address: str, command: Sequence[str]) -> int:
    docker = shutil.which("docker") or "docker"
    done = env.run(
        [
            *(docker, "run", "--rm", "--name", "okitoki-load", *confined(env, folder, address)),
            *("--tmpfs", "/tmp", image, *command),  # noqa: S108
        ],
        inside=False, check=False, capture=False,
    )  # fmt: skip
    return done.returncode
