"""The agent's side of HAProxy, against a stand-in that answers on the same sockets."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from unit.edge_agent.support import tenant

from okitoki_agents.edge.agent.endpoints import Backend
from okitoki_agents.edge.agent.haproxy import Haproxy
from okitoki_agents.edge.agent.haproxy_config import Files, Slot

TENANTS = {"acme": tenant()}


class StandIn:
    """Master and worker. The worker knows the structure it was started or reloaded with, and its servers."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.structure = ""
        self.servers: dict[str, Slot] = {}
        self.commands: list[str] = []
        self.reload_answer = "Success=1\n"
        self.carried: str | None = None

    def load(self) -> None:
        """What HAProxy does at a start or a reload."""
        text = self.files.config.read_text()
        self.structure = text.split("description ")[1].split()[0]
        self.servers = {}
        for line in text.splitlines():
            words = line.split()
            if words[:1] == ["server"]:
                self.servers[words[1]] = Slot(words[2].split(":")[0], "maint" if "disabled" in words else "ready")

    async def worker(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode().strip()
        writer.write(self.answer(line).encode())
        writer.close()

    def answer(self, line: str) -> str:
        if line == "show info":
            return f"Name: HAProxy\ndescription: {self.structure}\n"
        if line == "show servers state":
            bits = {"ready": 0, "maint": 1, "drain": 8}
            rows = [f"4 tenant_acme 1 {n} {s.address} 2 {bits[s.state]} 1" for n, s in self.servers.items()]
            return "\n".join(["1", "# fields", *rows, ""])
        self.commands.append(line)
        words = line.split()
        name = words[2].split("/")[1]
        if words[3] == "addr":
            self.servers[name] = Slot(words[4], self.servers[name].state)
            return "IP changed from '127.0.0.1' to '10.0.0.1' by 'stats socket command'\n"
        self.servers[name] = Slot(self.servers[name].address, words[4])
        return "\n"

    async def master(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readline()).strip() == b"reload"
        if self.files.server_state.exists():
            self.carried = self.files.server_state.read_text()
        if "Success=1" in self.reload_answer:
            self.load()
        writer.write(self.reload_answer.encode())
        writer.close()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "run").mkdir()
    return Files(tmp_path / "folder", tmp_path / "run", tmp_path / "ca.crt")


@pytest.fixture
async def running(files: Files) -> AsyncIterator[StandIn]:
    stand_in = StandIn(files)
    servers = [
        await asyncio.start_unix_server(stand_in.worker, files.stats_socket),
        await asyncio.start_unix_server(stand_in.master, files.master_socket),
    ]
    yield stand_in
    for server in servers:
        server.close()
        await server.wait_closed()


def checker(tmp_path: Path, verdict: str) -> str:
    """`haproxy -c` that says `verdict` (a shell line)."""
    file = tmp_path / "haproxy"
    file.write_text(f"#!/bin/sh\n{verdict}\n")
    file.chmod(0o755)
    return str(file)


@pytest.fixture
def made(files: Files, tmp_path: Path) -> Haproxy:
    return Haproxy(files, "198.18.16.203", 443, checker(tmp_path, "exit 0"))


async def test_the_file_is_there_before_haproxy_runs(made: Haproxy, files: Files) -> None:
    made.want(TENANTS, {"acme": [Backend("10.0.0.1")]}, b"PEM", b"CA")
    await made.converge()
    assert made.error == "not running yet"
    assert "server s1 10.0.0.1:8443" in files.config.read_text()
    assert files.config.stat().st_mode & 0o777 == 0o600


async def test_pods_change_without_a_reload(made: Haproxy, running: StandIn) -> None:
    made.want(TENANTS, {"acme": [Backend("10.0.0.1")]}, b"PEM", b"CA")
    await made.converge()
    assert made.reloads == 1
    made.want(TENANTS, {"acme": [Backend("10.0.0.1", terminating=True), Backend("10.0.0.2")]}, b"PEM", b"CA")
    await made.converge()
    assert made.error is None
    assert made.reloads == 1
    assert running.servers["s1"] == running.servers["b1"] == Slot("10.0.0.1", "drain")
    assert running.servers["s2"] == Slot("10.0.0.2", "ready")


async def test_nothing_is_done_twice(made: Haproxy, running: StandIn) -> None:
    made.want(TENANTS, {"acme": [Backend("10.0.0.1")]}, b"PEM", b"CA")
    await made.converge()
    running.commands.clear()
    await made.converge()
    assert running.commands == []
    assert made.reloads == 1


async def test_a_haproxy_that_restarted_with_an_old_state_is_mended(made: Haproxy, running: StandIn) -> None:
    made.want(TENANTS, {"acme": [Backend("10.0.0.1")]}, b"PEM", b"CA")
    await made.converge()
    running.servers["s1"] = Slot("10.9.9.9", "ready")
    await made.converge()
    assert running.servers["s1"] == Slot("10.0.0.1", "ready")


async def test_a_new_agent_moves_no_pod_and_reloads_nothing(
    made: Haproxy, running: StandIn, files: Files, tmp_path: Path
) -> None:
    made.want(TENANTS, {"acme": [Backend("10.0.0.1"), Backend("10.0.0.2")]}, b"PEM", b"CA")
    await made.converge()
    made.want(TENANTS, {"acme": [Backend("10.0.0.2")]}, b"PEM", b"CA")
    await made.converge()
    running.commands.clear()
    again = Haproxy(files, "198.18.16.203", 443, checker(tmp_path, "exit 0"))
    again.want(TENANTS, {"acme": [Backend("10.0.0.2")]}, b"PEM", b"CA")
    await again.converge()
    assert (again.reloads, running.commands, again.error) == (0, [], None)


async def test_a_refused_configuration_changes_nothing_and_is_not_tried_again(
    made: Haproxy, running: StandIn, files: Files, tmp_path: Path
) -> None:
    made.want(TENANTS, {}, b"PEM", b"CA")
    await made.converge()
    before = files.config.read_bytes()
    count = tmp_path / "count"
    checker(tmp_path, f"echo x >> {count}; echo 'line 7: bad' >&2; exit 1")
    made.want(TENANTS, {}, b"OTHER", b"CA")
    await made.converge()
    await made.converge()
    assert made.error is not None
    assert "line 7: bad" in made.error
    assert files.config.read_bytes() == before
    assert count.read_text() == "x\n"
    checker(tmp_path, "exit 0")
    made.want(TENANTS, {}, b"GOOD", b"CA")
    await made.converge()
    assert made.error is None


async def test_a_failed_reload_is_an_error_and_is_tried_again(made: Haproxy, running: StandIn) -> None:
    running.reload_answer = "Success=0\nno memory"
    made.want(TENANTS, {}, b"PEM", b"CA")
    await made.converge()
    assert made.error is not None
    assert "no memory" in made.error
    running.reload_answer = "Success=1\n"
    await made.converge()
    assert (made.error, made.reloads) == (None, 1)


async def test_a_reload_carries_checks_over_and_sweeps_old_files(made: Haproxy, running: StandIn, files: Files) -> None:
    made.want(TENANTS, {"acme": [Backend("10.0.0.1")]}, b"PEM", b"CA")
    await made.converge()
    made.want(
        {**TENANTS, "beta": tenant(tenant="beta", host="beta.test")}, {"acme": [Backend("10.0.0.1")]}, b"NEW", b"CA"
    )
    await made.converge()
    assert made.reloads == 2
    assert running.carried is not None
    assert [line.split()[3] for line in running.carried.splitlines()[2:]] == ["s1", "b1"]
    assert not files.server_state.exists()
    for kind in ("tls-*.pem", "ca-*.pem", "hosts-*.map"):
        assert len(list(files.folder.glob(kind))) == 1


async def test_what_it_shows_and_trusts_is_told_once_it_runs(made: Haproxy, running: StandIn) -> None:
    """A reload that fails leaves the word of before: a rotation of the authorities waits for it."""
    form = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"
    first, second = form % b"AAAA", form % b"BBBB"
    made.want(TENANTS, {}, first + b"KEY", first)
    await made.converge()
    shown = made.certificate
    assert made.authorities == [shown]
    running.reload_answer = "Success=0\n"
    made.want(TENANTS, {}, second + b"KEY", first + second)
    await made.converge()
    assert (made.certificate, made.authorities) == (shown, [shown])
    running.reload_answer = "Success=1\n"
    await made.converge()
    assert made.certificate != shown
    assert set(made.authorities) == {shown, made.certificate}


async def test_another_authority_is_a_reload_with_a_file_of_its_own(
    made: Haproxy, running: StandIn, files: Files
) -> None:
    made.want(TENANTS, {"acme": [Backend("10.0.0.1")]}, b"PEM", b"CA")
    await made.converge()
    made.want(TENANTS, {"acme": [Backend("10.0.0.1")]}, b"PEM", b"CA and the next")
    await made.converge()
    assert made.reloads == 2
    assert files.authorities(b"CA and the next").read_bytes() == b"CA and the next"
    assert str(files.authorities(b"CA and the next")) in files.config.read_text()
