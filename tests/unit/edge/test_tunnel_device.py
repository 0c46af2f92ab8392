"""The tunnel's interface, rules and routes as commands; what ip(8) prints is as iproute2 6.15 prints it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from unit.edge.support import facts

from okitoki_agents.edge.tunnel import device, plan, supervisor
from okitoki_agents.edge.tunnel.device import Device, DeviceError
from okitoki_agents.edge.tunnel.plan import Keys, Rule, key_document
from okitoki_agents.edge.tunnel.supervisor import Supervisor

NODE, PEER = "198.18.16.11", "198.18.16.12"
KEYS = Keys("cHJpdmF0ZS1rZXktb2YtdGhpcy1ub2RlLTAwMDAwMDA=", "cHVibGljLWtleS1vZi10aGUtcGVlci0wMDAwMDAwMDA=")
NAMES = {"from": "src", "to": "dst"}


class Kernel:
    """Answers ip(8) and wg(8) as a kernel with or without WireGuard would."""

    def __init__(self, wireguard: bool) -> None:
        self.wireguard = wireguard
        self.rules: list[Rule] = []
        self.routes: list[dict[str, Any]] = []
        self.links: list[str] = []
        self.commands: list[str] = []
        self.handshake = 0

    def command(self, *words: str, text: str | None = None) -> str:
        line = " ".join(words)
        self.commands.append(line)
        match words:
            case ("ip", "-j", "rule"):
                other = {"priority": 32766, "src": "all", "table": "main"}
                return json.dumps([other, *(self._shown(rule) for rule in self.rules)])
            case ("ip", "-j", "route", *_):
                return json.dumps(self.routes)
            case ("ip", "-batch", "-"):
                for order in (text or "").splitlines():
                    self._batch(order.split())
            case ("ip", "link", "add", name, "type", "wireguard"):
                if not self.wireguard:
                    raise DeviceError("Unknown device type.")
                self.links.append(name)
            case ("ip", "link", "delete", name):
                if name not in self.links:
                    raise DeviceError("Cannot find device")
                self.links.remove(name)
            case ("wg", "show", name, "latest-handshakes"):
                return f"{KEYS.peer}\t{self.handshake}\n"
        return ""

    def _shown(self, rule: Rule) -> dict[str, Any]:
        selectors = {NAMES.get(word, word): int(value) if "port" in word else value for word, value in rule}
        return {"priority": 20500, "src": "all", "table": "20500", **selectors}

    def _batch(self, words: list[str]) -> None:
        self.commands.append(" ".join(words))
        match words:
            case ["route", "replace", "unreachable", *_]:
                self.routes = [route for route in self.routes if "type" not in route]
                self.routes.append({"type": "unreachable", "dst": "default"})
            case ["route", "replace", ip, "dev", name, *_]:
                self.routes = [route for route in self.routes if route["dst"] != ip.removesuffix("/32")]
                self.routes.append({"dst": ip.removesuffix("/32"), "dev": name})
            case ["route", "delete", ip, *_]:
                self.routes = [route for route in self.routes if route["dst"] != ip.removesuffix("/32")]
            case ["rule", "add", "priority", "20500", *selectors, "lookup", "20500"]:
                self.rules.append(tuple(zip(selectors[::2], selectors[1::2], strict=True)))
            case ["rule", "delete", "priority", "20500", *selectors, "lookup", "20500"]:
                self.rules.remove(tuple(zip(selectors[::2], selectors[1::2], strict=True)))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """With WireGuard of its own: nothing is started."""
    made = Kernel(wireguard=True)
    monkeypatch.setattr(device, "command", made.command)

    def index(name: str) -> int:
        if name not in made.links:
            raise OSError("no such device")
        return made.links.index(name) + 7

    monkeypatch.setattr("socket.if_nametoindex", index)
    return made


def test_the_kernel_is_asked_for_wireguard_and_keeps_nothing_of_it(kernel: Kernel) -> None:
    assert Device("okitoki-wg0", 20500).in_kernel
    assert kernel.links == []
    kernel.wireguard = False
    assert not Device("okitoki-wg0", 20500).in_kernel


def test_rules_and_routes_become_what_is_wanted_and_the_end_of_the_table_comes_first(
    kernel: Kernel, tmp_path: Path
) -> None:
    here, tunnel = facts(tmp_path), Device("okitoki-wg0", 20500)
    tunnel.route(NODE, plan.routes(here, PEER), plan.rules(here, PEER))
    batch = kernel.commands[kernel.commands.index("ip -batch -") + 1 :]
    assert batch[0].startswith("route replace unreachable default")
    assert set(tunnel.rules()) == plan.rules(here, PEER)
    assert tunnel.routes() == {"unreachable", PEER, *here.region.media}
    kernel.rules.append(kernel.rules[0])
    tunnel.route(NODE, plan.routes(here, "198.18.16.13"), plan.rules(here, "198.18.16.13"))
    assert sorted(tunnel.rules()) == sorted(plan.rules(here, "198.18.16.13"))
    assert PEER not in tunnel.routes()


def test_a_tunnel_is_made_whole_and_kept_so(
    kernel: Kernel, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    here = facts(tmp_path)
    for file, text in ((here.paths.peer, f"{PEER}\n"), (here.paths.tunnel_keys, key_document(KEYS))):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    watcher = Supervisor(here)
    watcher.look()
    assert kernel.links == ["okitoki-wg0"]
    assert set(kernel.rules) == plan.rules(here, PEER)
    assert json.loads(here.paths.tunnel_status.read_text()) == {"state": "ok", "because": None, "kind": "kernel"}
    # Somebody deletes it, and a rule.
    kernel.links.clear()
    kernel.routes.clear()
    kernel.rules.pop()
    watcher.look()
    assert kernel.links == ["okitoki-wg0"]
    assert set(kernel.rules) == plan.rules(here, PEER)
    assert {route["dst"] for route in kernel.routes} == {"default", PEER, *here.region.media}
    assert (here.paths.conf / "tunnel.conf").stat().st_mode & 0o777 == 0o600
    told = caplog.text + here.paths.tunnel_status.read_text() + " ".join(kernel.commands)
    assert KEYS.private not in told
    before = len(kernel.commands)
    monkeypatch.setattr(supervisor.time, "time", lambda: 100.0)
    kernel.handshake = 90
    for _ in range(supervisor.HANDSHAKE_EVERY):
        watcher.look()
    assert [line for line in kernel.commands[before:] if "syncconf" in line or "batch" in line] == []


def test_a_peer_is_greeted_every_second_until_it_answers_under_new_keys(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, now = facts(tmp_path), 1000.0
    monkeypatch.setattr(supervisor.time, "time", lambda: now)
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: now)
    here.paths.peer.parent.mkdir(parents=True)
    here.paths.peer.write_text(f"{PEER}\n")
    here.paths.tunnel_keys.write_text(key_document(KEYS))
    kernel.handshake = 990
    watcher = Supervisor(here)
    watcher.look()
    here.paths.tunnel_keys.write_text(key_document(Keys(KEYS.peer, KEYS.private)))
    kernel.handshake = 0
    watcher.look()
    before, now = kernel.commands.count("wg syncconf okitoki-wg0 " + str(here.paths.conf / "tunnel.conf")), 1001.5
    watcher.look()
    assert kernel.commands.count("wg syncconf okitoki-wg0 " + str(here.paths.conf / "tunnel.conf")) == before + 2
    kernel.handshake, now = 1001, 1003.0
    watcher.look()
    assert kernel.commands.count("wg syncconf okitoki-wg0 " + str(here.paths.conf / "tunnel.conf")) == before + 2


def test_a_peer_without_a_tunnel_is_left_alone(kernel: Kernel, tmp_path: Path) -> None:
    here = facts(tmp_path)
    here.paths.peer.parent.mkdir(parents=True)
    for file in (here.paths.peer, here.paths.plain_peer):
        file.write_text(f"{PEER}\n")
    here.paths.tunnel_keys.write_text(key_document(KEYS))
    watcher = Supervisor(here)
    watcher.look()
    assert kernel.rules == []
    assert json.loads(here.paths.tunnel_status.read_text())["state"] == "ok"
    here.paths.plain_peer.write_text("\n")
    watcher.look()
    assert set(kernel.rules) == plan.rules(here, PEER)


def test_without_keys_nothing_goes_out_and_it_is_told(kernel: Kernel, tmp_path: Path) -> None:
    here = facts(tmp_path)
    here.paths.peer.parent.mkdir(parents=True)
    here.paths.peer.write_text(f"{PEER}\n")
    watcher = Supervisor(here)
    watcher.look()
    assert set(kernel.rules) == plan.rules(here, PEER)
    status = json.loads(here.paths.tunnel_status.read_text())
    assert status["state"] == "down"
    assert "edge-tunnel" in status["because"]
