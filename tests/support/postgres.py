"""Throw-away PostgreSQL servers on loopback, from whatever version is installed under /usr/lib/postgresql.

They know nothing of a system's cluster: own directory with their Unix sockets, own ports. They run as `postgres` (or
`nobody`) when the tests run as root, which PostgreSQL refuses.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

PASSWORD = "throw-away"


def binaries() -> Path:
    """The newest installed version's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[4]))
    if not found:
        raise RuntimeError("no PostgreSQL under /usr/lib/postgresql; install the Debian package postgresql")
    return found[-1].parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_user() -> pwd.struct_passwd | None:
    """Whom to become; None when the tests are not run by root."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def run(*command: str | Path) -> None:
    """Run one of PostgreSQL's programs as the server's user. Raises with its output."""
    user = server_user()
    result = subprocess.run(
        [str(part) for part in command],
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PGPASSWORD": PASSWORD},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"{Path(str(command[0])).name} failed: {result.stdout}")


def eventually(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for a state; fail with what was awaited."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


@dataclass
class Server:
    """One server; `superuser` and role `app` with database `callcentre` have the same password."""

    directory: Path
    port: int
    name: str
    frozen: list[int] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.directory / self.name

    def conninfo(self, database: str = "callcentre", host: str = "127.0.0.1") -> str:
        """`host` may be the server's directory, which has its Unix socket."""
        login = f"user=superuser password={PASSWORD}"
        return f"host={host} port={self.port} {login} dbname={database} connect_timeout=5"

    def sql(self, statement: str, database: str = "callcentre") -> list[tuple[object, ...]]:
        """Run one statement as superuser, in autocommit mode."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def configure(self, **settings: str) -> None:
        """Change settings that a reload is enough for, and wait until they are in force."""
        for name, value in settings.items():
            self.sql(f"alter system set {name} = '{value}'")
        self.sql("select pg_reload_conf()")
        eventually(
            lambda: all(self.sql(f"show {name}") == [(value,)] for name, value in settings.items()), f"{settings}"
        )

    def start(self, wait: bool = True) -> None:
        """`wait`: until it accepts connections."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{self.directory}'"
        patience = ("-w", "-t", "30") if wait else ("-W",)
        run(binaries() / "pg_ctl", "-D", self.data, *patience, "-l", self.data / "log", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self.thaw()
        run(binaries() / "pg_ctl", "-D", self.data, "-w", "-t", "30", "-m", mode, "stop")

    def promote(self) -> None:
        run(binaries() / "pg_ctl", "-D", self.data, "-w", "-t", "30", "promote")

    def running(self) -> bool:
        return (self.data / "postmaster.pid").exists()

    def processes(self) -> list[int]:
        """The postmaster and its children."""
        postmaster = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]

    def freeze(self) -> None:
        """SIGSTOP all processes: connections stay, the kernel answers TCP, nothing else does."""
        self.frozen = self.processes()
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in reversed(self.frozen):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen = []

    def kill(self) -> None:
        """SIGKILL all processes."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Its number may be in use still, by what nobody has waited for; another postmaster would then not start.
        for lock in (self.data / "postmaster.pid", self.directory / f".s.PGSQL.{self.port}.lock"):
            lock.unlink(missing_ok=True)


class Cluster:
    """Servers of one test, in one temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.servers: list[Server] = []

    def primary(self, name: str = "first") -> Server:
        """A new server with role `app` and its database."""
        server = self._add(name)
        password_file = self.directory / "password"
        password_file.write_text(PASSWORD)
        login = ("-U", "superuser", "-A", "scram-sha-256", "--pwfile", password_file)
        run(binaries() / "initdb", "-D", server.data, *login, "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        with (server.data / "postgresql.conf").open("a") as configuration:
            configuration.write(
                "max_connections = 60\nshared_buffers = 16MB\nwal_level = replica\nmax_wal_senders = 4\n"
                "wal_sender_timeout = 5s\nwal_receiver_timeout = 5s\nwal_retrieve_retry_interval = 200ms\n"
                "lc_messages = 'C.UTF-8'\nautovacuum_naptime = 1h\n"
            )
        with (server.data / "pg_hba.conf").open("a") as access:
            access.write("host replication all 127.0.0.1/32 scram-sha-256\n")
        server.start()
        server.sql(f"create role app login password '{PASSWORD}'", "postgres")
        server.sql("create database callcentre owner app", "postgres")
        return server

    def copy(self, template: Server, name: str = "first") -> Server:
        """A new server from the files of a stopped one: much faster than a new one."""
        server = self._add(name)
        run("/bin/cp", "-a", template.data, server.data)
        server.start()
        return server

    def standby(self, of: Server, name: str = "second") -> Server:
        """A streaming standby of `of`, whose application_name is its name."""
        server = self._add(name)
        source = f"host=127.0.0.1 port={of.port} user=superuser password={PASSWORD} application_name={name}"
        run(
            binaries() / "pg_basebackup",
            "-D",
            server.data,
            "-d",
            source,
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
        )
        server.start()
        eventually(
            lambda: (
                of.sql(f"select state from pg_stat_replication where application_name = '{name}'") == [("streaming",)]
            ),
            f"{name} streams",
        )
        return server

    def _add(self, name: str) -> Server:
        server = Server(self.directory, free_port(), name)
        self.servers.append(server)
        return server

    def close(self) -> None:
        for server in self.servers:
            if server.running():
                server.stop()


@contextlib.contextmanager
def throw_away_cluster() -> Iterator[Cluster]:
    """Servers that are gone, with their files, at the end."""
    directory = Path(tempfile.mkdtemp(prefix="okitoki-postgres-"))
    user = server_user()
    if user:
        os.chown(directory, user.pw_uid, user.pw_gid)
    cluster = Cluster(directory)
    try:
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(directory)
