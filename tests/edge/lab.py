"""Two edge nodes and a host of phones as network namespaces on one bridge, running the pod's real processes.

A node is a mount and pid namespace over a trixie tree: pid 1 holds it, as the pause process holds a pod, and every
container is the same `okitoki-edge run NAME` that the pod runs. A container whose process ends is started again after a
second, as kubelet does. Needs root and the tree (`make images` or mmdebstrap leaves one).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trustme

from okitoki.kube.tunnel_keys import tunnel_pair
from okitoki_agents.edge.render import install
from okitoki_agents.edge.tunnel.plan import Keys, key_document

REPOSITORY = Path(__file__).parents[2]
NETWORK = "198.18.240"
SIP, HTTPS, MEDIA = f"{NETWORK}.200", f"{NETWORK}.203", (f"{NETWORK}.201", f"{NETWORK}.202")
ADDRESSES = {"sip": SIP, "https": HTTPS, "media-1": MEDIA[0], "media-2": MEDIA[1]}
PHONES, SECOND_TRUNK = f"{NETWORK}.50", f"{NETWORK}.52"
CONTAINERS = ("redis", "rtpengine-1", "rtpengine-2", "kamailio", "haproxy", "keepalived", "guard", "tunnel")
REGION = {
    "region": "lab",
    "domain": "lab.okitoki.test",
    "namespace": "okitoki-region-lab",
    "addresses": {"sip": SIP, "https": HTTPS, "media": list(MEDIA)},
    "ports": {
        "sip": 5060, "sips": 5061, "https": 443, "dmq": 5070, "redis": 16379, "ng": [2223, 2224], "cli": [9901, 9902],
        "agent": 9780, "tunnel": 51840,
    },
    "tunnel": {"interface": "okitoki-wg0", "table": 20500},
    "aliases": {"media": ["198.18.255.1", "198.18.255.2"], "peer": "198.18.255.3"},
    "mediaPorts": {"from": 30000, "to": 30999},
    "vrrp": {"advertIntervalMilliseconds": 100, "routerIds": {"sip": 51, "https": 52, "media": [53, 54]}},
    "carriers": [{"name": "main", "hosts": [PHONES, SECOND_TRUNK], "probeSeconds": 5}],
}  # fmt: skip
SECRETS = {"REDIS_PASSWORD": "labredispassword0001", "NONCE_SECRET": "labnoncesecret000001"}
_HAPROXY = """
global
    log stdout format raw local0 notice
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 1s
frontend health
    bind unix@/run/edge/haproxy/haproxy-health.sock mode 600
    http-request return status 200 content-type text/plain string ok
frontend https
    bind {address}:443
    http-request return status 200 content-type text/plain string {node}
"""
_INIT = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True: signal.pause()"


_CGROUP = Path("/sys/fs/cgroup/cpu/vc")


def in_cgroup(*command: str) -> list[str]:
    """The command with a share of the processor that other work cannot take, as an edge pod's request gives it.

    Without it a busy machine lets adverts starve, and what is measured is the machine.
    """
    if not _CGROUP.parent.exists():
        return list(command)
    _CGROUP.mkdir(exist_ok=True)
    (_CGROUP / "cpu.shares").write_text("65536")
    return ["sh", "-c", f'echo $$ > {_CGROUP}/tasks; exec "$@"', "sh", *command]


def sh(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def wait_until(what: str, condition: Callable[[], bool], timeout: float = 30.0) -> float:
    """Seconds until `condition` held. Raises TimeoutError naming `what`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout:
            raise TimeoutError(f"{what}: not within {timeout:.0f} s")
        time.sleep(0.01)
    return time.monotonic() - began


class Node:
    """One edge node. `address`: its own; `data` outlives the processes, as the pod's volume does."""

    def __init__(self, lab: Lab, name: str, ordinal: int, address: str) -> None:
        self.lab, self.name, self.ordinal, self.address = lab, name, ordinal, address
        self.netns = f"vc-{name}"
        self.base = lab.work / name
        self.data = self.base / "data"
        self.root = self.base / "root"
        self.logs = self.base / "logs"
        self._init: subprocess.Popen[bytes] | None = None
        self._supervisors: list[threading.Thread] = []
        self._wanted = False
        self._entered: dict[str, subprocess.Popen[bytes]] = {}

    def prepare(self) -> None:
        for folder in (self.lab.work / "pyc", self.data / "haproxy", self.root, self.logs, self.base / "etc"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.base / "etc" / "region.json").write_text(json.dumps(REGION))
        (self.data / "haproxy" / "haproxy.cfg").write_text(_HAPROXY.format(address=HTTPS, node=self.name))
        (self.data / "sip-tls.pem").write_bytes(self.lab.certificate.private_key_and_cert_chain_pem.bytes())
        peer = next(node for node in self.lab.nodes if node is not self)
        (self.data / "peer").write_text(f"{peer.address}\n")
        self.give_tunnel_keys()

    def give_tunnel_keys(self) -> None:
        """What the agent makes of Secret `edge-tunnel`."""
        keys = Keys(self.lab.tunnel_keys[self.ordinal][0], self.lab.tunnel_keys[1 - self.ordinal][1])
        install(self.data / "tunnel.json", key_document(keys))

    def start(self) -> None:
        """A new pod on this node: run directory empty, every container started at once."""
        upper, work, run = (self.base / name for name in ("upper", "workdir", "run"))
        for folder in (upper, work, run):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        binds = {
            "run/edge": run, "var/lib/edge": self.data, "etc/okitoki": self.base / "etc",
            "opt/pyc": self.lab.work / "pyc", "opt/agents": REPOSITORY / "agents", "opt/site": self.lab.site,
        }  # fmt: skip
        script = [
            "set -e", "mount --make-rprivate /",
            f"mount -t overlay overlay -o lowerdir={self.lab.tree},upperdir={upper},workdir={work} {self.root}",
            f"mount -t proc proc {self.root}/proc", f"mount --rbind /dev {self.root}/dev",
            *(f"mkdir -p {self.root}/{to}; mount --bind {of} {self.root}/{to}" for to, of in binds.items()),
            f"exec chroot {self.root} python3 -c '{_INIT}'",
        ]  # fmt: skip
        held = ("unshare", "--mount", "--pid", "--fork", "sh", "-c", "\n".join(script))
        outer = subprocess.Popen(in_cgroup("ip", "netns", "exec", self.netns, *held))
        self._init = outer
        wait_until(
            "the node's init", lambda: self._inner() is not None and self.succeeds("test", "-e", "/opt/site/jinja2")
        )
        self.run("python3", "-m", "okitoki_agents.edge", "host-setup")
        self._wanted = True
        self._supervisors = [threading.Thread(target=self._supervise, args=(name,), daemon=True) for name in CONTAINERS]
        for thread in self._supervisors:
            thread.start()

    def _inner(self) -> int | None:
        assert self._init is not None
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def command(self, *command: str) -> list[str]:
        variables = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": "/opt/agents:/opt/site",
            "PYTHONPYCACHEPREFIX": "/opt/pyc",
            "NODE_IP": self.address,
            "POD_NAME": f"edge-{self.ordinal}",
            "POD_NAMESPACE": "okitoki-region-lab",
            **SECRETS,
        }
        inside = [
            "chroot",
            str(self.root),
            "setsid",
            "env",
            "-i",
            *(f"{k}={v}" for k, v in variables.items()),
            *command,
        ]
        return [*in_cgroup("nsenter"), "--target", str(self._inner()), "--mount", "--pid", "--net", *inside]

    def succeeds(self, *command: str) -> bool:
        """Whether a command ends with 0."""
        return subprocess.run(self.command(*command), capture_output=True, check=False).returncode == 0

    def run(self, *command: str, check: bool = True) -> str:
        return sh(*self.command(*command), check=check)

    def _supervise(self, name: str) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            while self._wanted:
                log.write(f"--- {time.time():.3f} start\n".encode())
                log.flush()
                command = self.command("python3", "-m", "okitoki_agents.edge", "run", name)
                entered = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
                self._entered[name] = entered
                code = entered.wait()
                if self._wanted:
                    # A container ends whole: what its main process leaves behind is killed by the runtime.
                    self.succeeds("pkill", "-KILL", "--session", str(self.pid(name)))
                log.write(f"--- {time.time():.3f} ended {code}\n".encode())
                log.flush()
                if self._wanted:
                    time.sleep(1.0)

    def pid(self, name: str) -> int:
        """In the node's pid namespace."""
        return int((self.base / "run" / "pid" / name).read_text())

    def send(self, name: str, number: signal.Signals) -> None:
        self.run("kill", f"-{int(number)}", str(self.pid(name)))
        if number == signal.SIGCONT:
            self.wake()

    def everything(self, number: signal.Signals) -> None:
        """A signal to every process of the pod at the same moment; pid 1 of a namespace is spared."""
        self.run("kill", f"-{int(number)}", "--", "-1", check=False)
        if number == signal.SIGCONT:
            self.wake()

    def wake(self) -> None:
        """nsenter stops itself when its child is stopped, and nobody else would wake it."""
        for entered in self._entered.values():
            entered.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """The pod is gone without a word: its pid namespace ends."""
        self._wanted = False
        inner = self._inner()
        if inner is not None:
            os.kill(inner, signal.SIGKILL)
        assert self._init is not None
        self._init.wait()
        for thread in self._supervisors:
            thread.join(timeout=10)

    def stop(self) -> None:
        if self._init is not None and self._init.poll() is None:
            with contextlib.suppress(RuntimeError, OSError):
                self.kill()

    def revive(self) -> None:
        """Start the pod anew if it was killed, and let go on what was stopped."""
        if self._init is not None and self._init.poll() is None:
            self.wake()
        else:
            self.start()

    def link(self, up: bool) -> None:
        sh("ip", "-n", "vc-sw", "link", "set", f"vc-{self.name}p", "up" if up else "down")

    def holds(self) -> set[str]:
        """The region's addresses that the kernel has, by name."""
        shown = json.loads(sh("ip", "-n", self.netns, "-j", "-4", "address", "show", "dev", "eth0"))
        present = {entry["local"] for entry in shown[0]["addr_info"]}
        return {name for name, ip in ADDRESSES.items() if ip in present}

    def status(self) -> dict[str, Any]:
        if self._init is None or self._init.poll() is not None:
            return {}
        try:
            status: dict[str, Any] = json.loads((self.base / "run" / "status.json").read_text())
        except (OSError, ValueError):
            return {}
        return status

    def good(self) -> bool:
        services = self.status().get("services", {})
        return bool(services) and all(state == "ok" for state in services.values())


class Lab:
    """`tree`: a trixie root with the edge's packages; `site`: the agents' Python packages for its Python."""

    def __init__(self, work: Path, tree: Path, site: Path) -> None:
        self.work, self.tree, self.site = work, tree, site
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(work / "ca.pem"))
        self.certificate = authority.issue_cert(f"*.{REGION['domain']}")
        self.tunnel_keys = [tunnel_pair(), tunnel_pair()]
        self.nodes = [Node(self, "a", 0, f"{NETWORK}.11"), Node(self, "b", 1, f"{NETWORK}.12")]
        self.a, self.b = self.nodes

    def _host(self, name: str, address: str) -> None:
        sh("ip", "netns", "add", f"vc-{name}")
        sh(
            "ip",
            "-n",
            "vc-sw",
            "link",
            "add",
            f"vc-{name}p",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            f"vc-{name}",
        )
        sh("ip", "-n", "vc-sw", "link", "set", f"vc-{name}p", "master", "br0", "up")
        for command in (
            ("link", "set", "lo", "up"), ("link", "set", "eth0", "up"),
            ("address", "add", f"{address}/24", "dev", "eth0"), ("route", "add", "default", "via", f"{NETWORK}.1"),
        ):  # fmt: skip
            sh("ip", "-n", f"vc-{name}", *command)

    @contextlib.contextmanager
    def up(self) -> Iterator[Lab]:
        self.down()
        sh("ip", "netns", "add", "vc-sw")
        for command in (
            ("link", "set", "lo", "up"), ("link", "add", "br0", "type", "bridge"),
            ("address", "add", f"{NETWORK}.1/24", "dev", "br0"), ("link", "set", "br0", "up"),
        ):  # fmt: skip
            sh("ip", "-n", "vc-sw", *command)
        self._host("c", PHONES)
        try:
            for node in self.nodes:
                self._host(node.name, node.address)
                node.prepare()
            yield self
        finally:
            for node in self.nodes:
                node.stop()
            self.down()

    def down(self) -> None:
        for name in ("a", "b", "c", "sw"):
            sh("ip", "netns", "del", f"vc-{name}", check=False)

    def wait_good(self, timeout: float = 40.0) -> float:
        """Until both nodes are good and every address is on exactly one of them."""
        return wait_until(
            "both nodes good, each address on one",
            lambda: (
                all(node.good() for node in self.nodes)
                and not self.a.holds() & self.b.holds()
                and self.a.holds() | self.b.holds() == set(ADDRESSES)
            ),
            timeout,
        )


@contextlib.contextmanager
def session(tree: Path, site: Path, keep: Path | None = None) -> Iterator[Lab]:
    """A lab whose nodes have been started. Whatever ends it, the lab is taken down; logs and the phones' records, in
    `lab.work / "calls"`, are copied to `keep` first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    work = Path(tempfile.mkdtemp(prefix="vc-lab-"))
    try:
        with Lab(work, tree, site).up() as lab:
            for node in lab.nodes:
                node.start()
            yield lab
    finally:
        if keep:
            for folder in filter(lambda name: (work / name).exists(), ("a/logs", "b/logs", "calls")):
                shutil.copytree(work / folder, keep / folder, dirs_exist_ok=True)
        shutil.rmtree(work, ignore_errors=True)


def argument_parser(text: str | None) -> argparse.ArgumentParser:
    """What every program on the lab is told; `text`: what it is for."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tree", type=Path, required=True)
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="leave logs and the phones' records in this folder")
    return parser


def parse(parser: argparse.ArgumentParser, what: str, known: list[str]) -> argparse.Namespace:
    """The command line; `chosen` are those of `known` that it names, or all of them."""
    parser.add_argument("chosen", metavar=what.upper(), nargs="*", help=f"of {', '.join(known)} (all)")
    options = parser.parse_args()
    if unknown := set(options.chosen) - set(known):
        parser.error(f"no such {what}: {', '.join(sorted(unknown))}")
    options.chosen = options.chosen or known
    return options


def judged(name: str, seen: str, good: bool) -> bool:
    """Tell what was seen and whether that is right."""
    print(f"{'ok  ' if good else 'FAIL'} {name}: {seen}", flush=True)
    return good
