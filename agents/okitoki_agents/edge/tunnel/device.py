"""The tunnel's interface, rules and routes, by ip(8) and wg(8), and the process wireguard-go where the kernel has no
WireGuard of its own. Keys are in files of root's and never in an argument."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

from okitoki_agents import procfs
from okitoki_agents.edge.tunnel.plan import MTU, Rule

log = logging.getLogger(__name__)

_DEVICE, _DEVICE_NUMBER = Path("/dev/net/tun"), (10, 200)
"""Documentation/admin-guide/devices.txt."""
_SOCKETS = Path("/run/wireguard")
"""Where wireguard-go makes its command socket and wg(8) looks for it; compiled in."""
_INTERFACES = Path("/sys/class/net")
_ANSWER_SECONDS = 0.3
_START_SECONDS = 3.0
_COMMAND_SECONDS = 1.0
_FIELDS = (("src", "from"), ("dst", "to"), ("ipproto", "ipproto"), ("sport", "sport"), ("dport", "dport"))
"""Names of a rule's selectors in ip's JSON, and on its command line."""


class DeviceError(RuntimeError):
    """A command failed; the message is its own."""


def command(*words: str, text: str | None = None) -> str:
    """What it prints. Raises DeviceError."""
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{words[0]}: no answer within {_COMMAND_SECONDS:g} s") from error
    if done.returncode:
        raise DeviceError(f"{' '.join(words[:4])}: {done.stderr.strip()[:300]}")
    return done.stdout


class Device:
    """Interface `name`, routing table `table` (also the priority of its rules)."""

    def __init__(self, name: str, table: int) -> None:
        self._name, self._table = name, str(table)
        self.in_kernel = self._kernel_has_it()
        self._daemon: subprocess.Popen[bytes] | None = None
        if self.in_kernel and (_INTERFACES / name / "tun_flags").exists():
            # Left by an edge that had to do without.
            command("ip", "link", "delete", name)

    def _kernel_has_it(self) -> bool:
        """The kernel is asked for an interface (which loads its module), not for its version."""
        trial = f"{self._name}t"
        with contextlib.suppress(DeviceError):
            command("ip", "link", "delete", trial)
        try:
            command("ip", "link", "add", trial, "type", "wireguard")
        except DeviceError:
            return False
        command("ip", "link", "delete", trial)
        return True

    @property
    def index(self) -> int | None:
        """The interface's; another one means another interface."""
        try:
            return socket.if_nametoindex(self._name)
        except OSError:
            return None

    def runs(self) -> bool:
        """Whether somebody is behind the interface."""
        if self.in_kernel:
            return self.index is not None
        return self._daemon is not None and self._daemon.poll() is None

    def stopped(self) -> bool:
        if self.in_kernel or self._daemon is None:
            return False
        fields = procfs.stat(self._daemon.pid)
        return fields is not None and fields[0] in "tT"

    def answers(self) -> bool:
        """Whether wireguard-go answers a question (https://www.wireguard.com/xplatform/). What it says holds the
        private key, so nothing but the first byte is read."""
        if self.in_kernel:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plug:
                plug.settimeout(_ANSWER_SECONDS)
                plug.connect(os.fspath(_SOCKETS / f"{self._name}.sock"))
                plug.sendall(b"get=1\n\n")
                return bool(plug.recv(1))
        except OSError:
            return False

    def kill(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def make(self) -> None:
        """The interface, and wireguard-go behind it. A TUN interface is persistent: it and its routes outlive the
        process, so that what is on its way waits for the next one. Raises DeviceError, OSError."""
        if self.in_kernel:
            command("ip", "link", "add", self._name, "type", "wireguard")
            return
        _make_device_node()
        if self.index is None:
            command("ip", "tuntap", "add", "dev", self._name, "mode", "tun")
        _SOCKETS.mkdir(parents=True, exist_ok=True)
        variables = {"PATH": os.environ.get("PATH", ""), "LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"}
        self._daemon = subprocess.Popen(["wireguard-go", self._name], env=variables, stdin=subprocess.DEVNULL)
        give_up = time.monotonic() + _START_SECONDS
        while not self.answers():
            if self._daemon.poll() is not None:
                raise DeviceError(f"wireguard-go ended with {self._daemon.returncode}; its words are above")
            if time.monotonic() > give_up:
                self.kill()
                raise DeviceError(f"wireguard-go does not answer within {_START_SECONDS:.0f} s")
            time.sleep(0.01)

    def configure(self, file: Path) -> None:
        """Make keys and peer those of `file`; sessions with a peer that stays go on. Raises DeviceError."""
        command("wg", "syncconf", self._name, os.fspath(file))

    def handshake(self) -> float | None:
        """Epoch seconds of the last one, None for never. Raises DeviceError."""
        lines = command("wg", "show", self._name, "latest-handshakes").splitlines()
        return float(max((int(line.split()[-1]) for line in lines), default=0)) or None

    def rules(self) -> list[Rule]:
        """Those of this table that are in force, as often as they are. Raises DeviceError."""
        shown: list[dict[str, Any]] = json.loads(command("ip", "-j", "rule") or "[]")
        return [
            tuple((word, str(rule[field])) for field, word in _FIELDS if rule.get(field) not in (None, "all"))
            for rule in shown
            if str(rule.get("priority")) == self._table
        ]

    def routes(self) -> set[str]:
        """Destinations in the table, through the interface as it is now, and `unreachable`. Raises DeviceError."""
        try:
            shown: list[dict[str, Any]] = json.loads(command("ip", "-j", "route", "show", "table", self._table) or "[]")
        except DeviceError:
            # There is no such table before its first route.
            return set()
        found = {route["dst"] for route in shown if route.get("dev") == self._name}
        return found | {"unreachable" for route in shown if route.get("type") == "unreachable"}

    def route(self, source: str, destinations: tuple[str, ...], wanted: frozenset[Rule]) -> None:
        """Make rules and routes those, and the interface one that is up. The table's end comes first: with a rule and
        no route, packets would go on in clear. Raises DeviceError."""
        lines = [f"route replace unreachable default metric 4000000000 table {self._table}"]
        lines += [f"link set dev {self._name} mtu {MTU} up"]
        lines += [f"route replace {ip}/32 dev {self._name} src {source} table {self._table}" for ip in destinations]
        beyond = self.routes() - {"unreachable", *destinations}
        present = self.rules()
        lines += [self._line("add", rule) for rule in sorted(wanted - set(present))]
        kept: set[Rule] = set()
        for rule in present:
            if rule not in wanted or rule in kept:
                lines.append(self._line("delete", rule))
            kept.add(rule)
        lines += [f"route delete {ip}/32 table {self._table}" for ip in sorted(beyond)]
        command("ip", "-batch", "-", text="\n".join([*lines, ""]))

    def _line(self, verb: str, rule: Rule) -> str:
        words = " ".join(f"{name} {value}" for name, value in rule)
        return f"rule {verb} priority {self._table} {words} lookup {self._table}"

    def leave(self) -> None:
        """The edge ends here: nobody speaks for this node now. Rules stay, so that nothing goes out in clear."""
        self.kill()
        if self.in_kernel:
            with contextlib.suppress(DeviceError):
                command("ip", "link", "delete", self._name)


def remove(name: str, table: int) -> None:
    """Everything of a deleted region's tunnel. Safe to repeat."""
    present = command("ip", "-N", "rule").splitlines()
    for line in present:
        if line.startswith(f"{table}:"):
            command("ip", "rule", "delete", "priority", str(table))
    for words in (("route", "flush", "table", str(table)), ("link", "delete", name)):
        with contextlib.suppress(DeviceError):
            command("ip", *words)


def _make_device_node() -> None:
    """A container has none; what it may do with it is the runtime's list of devices (docs/decisions/0025-…). Raises
    OSError."""
    if not _DEVICE.exists():
        _DEVICE.parent.mkdir(exist_ok=True)
        os.mknod(_DEVICE, stat.S_IFCHR | 0o600, os.makedev(*_DEVICE_NUMBER))
