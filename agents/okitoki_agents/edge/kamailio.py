"""Routes into Kamailio: db_text tables on disk, loaded into its htables by JSON-RPC.

Kamailio reads the tables from disk at its start, so calls are routed with no other part of the platform alive. A change
is written to disk first and then loaded by `htable.reload`; each table carries its version as a row, so that `publish`
can ask a running Kamailio what it has loaded and is level-based: call it again until it returns True.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from okitoki_agents.edge.facts import Paths

TABLES = ("numbers", "queues", "ha1", "realms", "callers", "landlines")
VERSION_KEY = "#version"
RESTRICTED_REALM = "-"
"""In the place of a realm: the host's phones are refused, and told why. No tenant has this name."""
HTABLE_VERSION = 2
"""Version of the `htable` table schema that Kamailio's htable module checks for in table `version`."""
_COLUMNS = "key_name(string) key_type(int) value_type(int) key_value(string) expires(int)"
_RPC_TIMEOUT = 2.0


class KamailioError(Exception):
    """Kamailio answered an RPC with an error, or a route cannot be written as a table row."""


@dataclass(frozen=True)
class NumberRoute:
    """Where an incoming call to a number goes."""

    tenant: str
    queue: str
    host: str
    """The tenant's host name in this region, TENANT.DOMAIN: the SIP domain of its agents."""


@dataclass(frozen=True)
class LandlineRoute:
    """Where an incoming call to a number goes when the tenant's site does not answer (layer 1)."""

    tenant: str
    host: str
    """As in `NumberRoute`."""
    landlines: tuple[str, ...]
    """E.164 numbers, called one after another."""


@dataclass(frozen=True)
class Routes:
    """All routes of the region, of every tenant.

    numbers: E.164 number with `+` -> NumberRoute
    queues:  (tenant, queue) -> agents' user names, in order
    ha1:     (user name, host) -> hex MD5 of user:realm:secret (RFC 2617, HA1)
    realms:  host -> realm (the tenant's name, or RESTRICTED_REALM)
    landlines: E.164 number -> LandlineRoute; they come from the operator, so also for a number that no app has told of
    """

    numbers: Mapping[str, NumberRoute] = field(default_factory=dict)
    queues: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    ha1: Mapping[tuple[str, str], str] = field(default_factory=dict)
    realms: Mapping[str, str] = field(default_factory=dict)
    landlines: Mapping[str, LandlineRoute] = field(default_factory=dict)


def rows(routes: Routes) -> dict[str, dict[str, str]]:
    """Table name -> key -> value, the keys and values as Kamailio's script reads them (docs/interfaces.md)."""
    callers: dict[str, str] = {}
    for number, route in sorted(routes.numbers.items()):
        callers.setdefault(route.host, number)
    return {
        "numbers": {number: f"{r.tenant}|{r.queue}|{r.host}" for number, r in routes.numbers.items()},
        "queues": {f"{tenant}:{queue}": ",".join(agents) for (tenant, queue), agents in routes.queues.items()},
        "ha1": {f"{user}@{host}": digest for (user, host), digest in routes.ha1.items()},
        "realms": dict(routes.realms),
        "callers": callers,
        "landlines": {number: f"{r.tenant}|{r.host}|{','.join(r.landlines)}" for number, r in routes.landlines.items()},
    }


def table_text(entries: Mapping[str, str]) -> str:
    """One htable in db_text's format, its version row last. Raises KamailioError for an entry that does not fit."""
    version = hashlib.sha256(json.dumps(sorted(entries.items())).encode()).hexdigest()[:16]
    lines = [_row(key, value) for key, value in sorted(entries.items())]
    return "\n".join([_COLUMNS, *lines, _row(VERSION_KEY, version)]) + "\n"


def _row(key: str, value: str) -> str:
    """key_type 0 and value_type 0: both are strings (htable's schema, kamailio-db)."""
    for text in (key, value):
        if not text or any(character in text for character in "\n\r\0\\"):
            raise KamailioError(f"route {key!r}: {value!r} holds a character that a table cannot")
    return f"{_escape(key)}:0:0:{_escape(value)}:0"


def _escape(text: str) -> str:
    return text.replace(":", "\\:")


def write_tables(routes: Routes, paths: Paths) -> dict[str, str]:
    """Write what differs to disk, each file atomically. Returns table name -> version."""
    folder = paths.kamailio_tables
    _write_schema(folder)
    versions = {}
    for table, entries in rows(routes).items():
        text = table_text(entries)
        _replace(folder / table, text)
        versions[table] = text.splitlines()[-1].split(":")[3]
    return versions


def ensure_tables(paths: Paths) -> None:
    """An empty table for each that is not there yet (htable refuses to start without its file); a table that a newer
    version brings must not empty the others."""
    _write_schema(paths.kamailio_tables)
    for table in TABLES:
        if not (paths.kamailio_tables / table).exists():
            _replace(paths.kamailio_tables / table, table_text({}))


def _write_schema(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{table}:{HTABLE_VERSION}\n" for table in TABLES)
    _replace(folder / "version", f"table_name(string) table_version(int)\n{lines}")


def _replace(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return
    changed_at = path.stat().st_mtime if path.exists() else 0.0
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _change_after(Path(name), changed_at)
    os.replace(name, path)


def _change_after(path: Path, moment: float) -> None:
    """Let the file's time of change be in a later second than `moment`: db_text reads a file again only when the second
    of its change is another, and two changes can come within one."""
    changed_at = max(path.stat().st_mtime, int(moment) + 1.0)
    os.utime(path, (changed_at, changed_at))


async def publish(routes: Routes, paths: Paths | None = None) -> bool:
    """Make `routes` what Kamailio routes by, now and after its next start.

    True: the running Kamailio has loaded them. False: they are on disk, but Kamailio does not answer (it loads them at
    its start) or did not take them; call again later to be sure. Raises KamailioError when Kamailio refuses, OSError
    when the disk does.
    """
    paths = paths or Paths()
    versions = await asyncio.to_thread(write_tables, routes, paths)
    try:
        for table, version in versions.items():
            if await asyncio.to_thread(_loaded_version, paths, table) != version:
                await asyncio.to_thread(_reload, paths, table)
                if await asyncio.to_thread(_loaded_version, paths, table) != version:
                    return False
    except (ConnectionError, FileNotFoundError, TimeoutError):
        return False
    return True


def _reload(paths: Paths, table: str) -> None:
    file = paths.kamailio_tables / table
    _change_after(file, file.stat().st_mtime)
    rpc(paths, "htable.reload", table)


def entries(paths: Paths, table: str) -> dict[str, str]:
    """What a table of the running Kamailio holds. Raises as `rpc`."""
    slots = rpc(paths, "htable.dump", table)
    return {str(item["name"]): str(item["value"]) for slot in slots or () for item in slot["slot"]}


def _loaded_version(paths: Paths, table: str) -> str | None:
    try:
        answer = rpc(paths, "htable.get", table, VERSION_KEY)
    except KamailioError:
        return None
    return str(answer["item"]["value"])


def rpc(paths: Paths, method: str, *parameters: str, timeout: float = _RPC_TIMEOUT) -> Any:
    """One JSON-RPC call over Kamailio's datagram socket; returns `result`.

    Raises KamailioError when Kamailio answers with an error; ConnectionError, FileNotFoundError or TimeoutError when it
    does not answer.
    """
    request = {"jsonrpc": "2.0", "id": os.getpid(), "method": method, "params": list(parameters)}
    with (
        tempfile.TemporaryDirectory(dir=paths.kamailio_rpc.parent, prefix="rpc-") as own,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(timeout)
        client.bind(f"{own}/s")
        client.connect(str(paths.kamailio_rpc))
        client.send(json.dumps(request).encode())
        answer = json.loads(client.recv(1 << 20))
    if "error" in answer:
        raise KamailioError(f"{method} {' '.join(parameters)}: {answer['error'].get('message', 'refused')}")
    return answer["result"]
