"""The keys of this node's end of the tunnel: from Secret `edge-tunnel` to the file that the tunnel's supervisor reads.

Both ends must change them in the same moment, or they do not understand each other. So new keys wait until the peer's
agent says that it knows them, too; a node that has none takes them at once.
"""

import base64
import hashlib
import logging
from typing import Any

from okitoki_agents.edge import store
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.tunnel.plan import Keys, key_document, parse_keys
from okitoki_agents.kube import Object

log = logging.getLogger(__name__)

SECRET = "edge-tunnel"  # noqa: S105 - a name
_KEY_BYTES = 32


class TunnelKeys:
    """`problem`: why the Secret cannot be used; None when it can. `generation`: id of the newest keys, of their public
    halves; empty while none are known."""

    def __init__(self, facts: Facts) -> None:
        self._file, self._end = facts.paths.tunnel_keys, facts.ordinal % 2
        self._newest: Keys | None = None
        self.generation = ""
        self.problem: str | None = f"there are no keys yet (Secret {SECRET})"

    def learn(self, secret: Object | None) -> None:
        """What the API server says; a Secret that is gone or broken changes nothing."""
        if secret is None:
            return
        data: dict[str, Any] = secret.get("data") or {}
        try:
            private, peer = (_key(data, name) for name in (f"private-key-{self._end}", f"public-key-{1 - self._end}"))
            both = sorted(_key(data, f"public-key-{end}") for end in (0, 1))
        except ValueError as error:
            self.problem = str(error)
            log.error("%s; the keys in use stay", error)
            return
        self._newest, self.problem = Keys(private, peer), None
        self.generation = hashlib.sha256("".join(both).encode()).hexdigest()[:16]

    def converge(self, peer_knows: str) -> None:
        """Write the newest keys down if it is time; `peer_knows`: the generation of the peer's agent.

        Raises OSError.
        """
        known = parse_keys(self._file.read_text()) if self._file.exists() else None
        if self._newest is None or self._newest == known or (known is not None and peer_knows != self.generation):
            return
        store.write_atomically(self._file, key_document(self._newest).encode())
        log.info("keys of generation %s", self.generation)


def _key(data: dict[str, Any], name: str) -> str:
    """Raises ValueError, which names the key and not its value."""
    try:
        text = base64.b64decode(data[name], validate=True).decode()
        if len(base64.b64decode(text, validate=True)) == _KEY_BYTES:
            return text
    except (KeyError, ValueError):
        pass
    raise ValueError(f"Secret {SECRET}: {name} is no key in base64; delete the Secret and the operator makes new ones")
