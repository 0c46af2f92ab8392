"""Brings HAProxy to the wanted configuration: the file first, so that it starts with it, then the running worker.

HAProxy may be absent, starting or restarting at any time; each `converge` looks at what really runs and mends the
difference.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import jinja2

from okitoki_agents.edge import store
from okitoki_agents.edge.agent import haproxy_config
from okitoki_agents.edge.agent.certificates import certificate_ids
from okitoki_agents.edge.agent.endpoints import Backend
from okitoki_agents.edge.agent.haproxy_config import Files, Rendered, Slot, TenantBackend
from okitoki_agents.edge.agent.tenants import EdgeTenant

log = logging.getLogger(__name__)

COMMAND_SECONDS = 5.0
RELOAD_SECONDS = 20.0
CHECK_SECONDS = 30.0


class HaproxyError(Exception):
    """HAProxy refused a configuration or a command."""


def template() -> jinja2.Template:
    """The template of haproxy.cfg."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent.parent / "templates")
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - not HTML
        keep_trailing_newline=True,
    )
    return environment.get_template("haproxy.cfg.j2")


async def command(socket: Path, text: str, seconds: float = COMMAND_SECONDS) -> str:
    """Answer of the command socket to `text`. Raises OSError, TimeoutError."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        try:
            writer.write(text.encode() + b"\n")
            await writer.drain()
            return (await reader.read()).decode(errors="replace")
        finally:
            writer.close()


class Haproxy:
    """HAProxy of this pod: `want` says what it should run, `converge` makes it so."""

    def __init__(self, files: Files, address: str, port: int, binary: str = "haproxy") -> None:
        self._files, self._address, self._port, self._binary = files, address, port, binary
        self._template = template()
        self._wanted: Rendered | None = None
        self._refused: bytes | None = None
        self._shown: tuple[bytes, bytes] | None = None
        self.reloads = 0
        self.error: str | None = None
        self.certificate: str | None = None
        """Id of the certificate that the running worker shows; None before that is known."""
        self.authorities: list[str] = []
        """Ids of the authorities that it trusts."""

    def want(
        self, tenants: Mapping[str, EdgeTenant], backends: Mapping[str, Iterable[Backend]], pem: bytes, ca: bytes
    ) -> None:
        """Set what HAProxy should run."""
        before: tuple[TenantBackend, ...] = self._wanted.tenants if self._wanted else self._remembered()
        wanted = haproxy_config.tenant_backends(tenants, backends, before)
        self._wanted = haproxy_config.render(self._template, self._files, self._address, self._port, pem, ca, wanted)

    def _remembered(self) -> tuple[TenantBackend, ...]:
        """Slots as they were before this agent started, so that its start moves no pod and reloads nothing."""
        document = store.read_json(self._files.folder / "slots.json") or {}
        return tuple(
            TenantBackend(name, "", "", 0, tuple(Slot(*slot) for slot in slots)) for name, slots in document.items()
        )

    async def converge(self) -> None:
        """Bring file and worker to what is wanted. Never raises for HAProxy's sake: `error` says what is wrong."""
        wanted = self._wanted
        if wanted is None or wanted.config == self._refused:
            return
        try:
            await self._write(wanted)
            await self._run(wanted)
        except HaproxyError as error:
            self._complain(str(error))
        except (FileNotFoundError, ConnectionError):
            self._complain("not running yet")
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            self._complain(f"{type(error).__name__} {error}")
        else:
            if self._shown != (wanted.pem, wanted.ca):
                self._shown = (wanted.pem, wanted.ca)
                self.certificate = next(iter(certificate_ids(wanted.pem)), None)
                self.authorities = sorted(certificate_ids(wanted.ca))
            if self.error is not None:
                log.info("HAProxy runs what is wanted")
            self.error = None

    def _complain(self, error: str) -> None:
        if error != self.error:
            log.warning("HAProxy: %s", error)
        self.error = error

    async def _write(self, wanted: Rendered) -> None:
        """The configuration to disk, once HAProxy has found no fault in it."""
        if self._files.config.exists() and self._files.config.read_bytes() == wanted.config:
            return
        for path, content in wanted.companions.items():
            store.write_atomically(path, content)
        store.write_atomically(self._files.candidate, wanted.config)
        process = await asyncio.create_subprocess_exec(
            self._binary,
            "-c",
            "-f",
            str(self._files.candidate),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            self._refused = wanted.config
            raise HaproxyError(f"the new configuration is refused, the old one stays: {output.decode()[-2000:]}")
        store.write_atomically(self._files.config, wanted.config)
        document = {tenant.name: [[slot.address, slot.state] for slot in tenant.slots] for tenant in wanted.tenants}
        store.write_json(self._files.folder / "slots.json", document)

    async def _run(self, wanted: Rendered) -> None:
        """The running worker to the configuration: a reload if its structure differs, then the slots."""
        info = await command(self._files.stats_socket, "show info")
        if f"description: {wanted.structure}" not in info.splitlines():
            await self._reload(wanted)
        running = haproxy_config.parse_servers_state(await command(self._files.stats_socket, "show servers state"))
        for line in haproxy_config.slot_commands(wanted.tenants, running):
            answer = (await command(self._files.stats_socket, line)).strip()
            # Setting an address is answered with what was changed, setting a state with nothing.
            if answer and "changed from" not in answer and "no need to change" not in answer:
                raise HaproxyError(f"{line}: {answer}")
            log.info("HAProxy: %s", line)

    async def _reload(self, wanted: Rendered) -> None:
        state = await command(self._files.stats_socket, "show servers state")
        self._files.server_state.write_text(haproxy_config.carry_over(state, wanted.tenants))
        try:
            answer = await command(self._files.master_socket, "reload", RELOAD_SECONDS)
        finally:
            # It describes this moment only; a HAProxy that restarts later checks for itself.
            self._files.server_state.unlink(missing_ok=True)
        if "Success=1" not in answer:
            raise HaproxyError(f"the reload failed, the old worker goes on: {answer.strip()[-2000:]}")
        self.reloads += 1
        log.info("HAProxy: reloaded, %d tenants", len(wanted.tenants))
        for path in self._files.folder.iterdir():
            if path.suffix in (".map", ".pem") and path not in wanted.companions:
                path.unlink()
