"""The tunnel's keys on their way from the Secret to the node."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

from unit.edge.support import facts

from okitoki_agents.edge.agent.tunnel_keys import TunnelKeys
from okitoki_agents.edge.tunnel.plan import Keys, parse_keys


def key(letter: str) -> str:
    return base64.b64encode(letter.encode() * 32).decode()


def secret(letters: str) -> dict[str, Any]:
    names = ("private-key-0", "public-key-0", "private-key-1", "public-key-1")
    values = zip(names, letters, strict=True)
    return {"data": {name: base64.b64encode(key(letter).encode()).decode() for name, letter in values}}


def held(keys: TunnelKeys) -> Keys | None:
    return parse_keys(keys._file.read_text()) if keys._file.exists() else None


def test_a_node_has_its_own_private_key_and_the_peers_public_one(tmp_path: Path) -> None:
    for ordinal, wanted in ((0, Keys(key("a"), key("d"))), (1, Keys(key("c"), key("b")))):
        keys = TunnelKeys(facts(tmp_path / str(ordinal), ordinal))
        keys.learn(secret("abcd"))
        keys.converge("")
        assert held(keys) == wanted
        assert keys._file.stat().st_mode & 0o777 == 0o600


def test_new_keys_wait_until_the_peer_knows_them_too(tmp_path: Path) -> None:
    here, there = (TunnelKeys(facts(tmp_path / str(ordinal), ordinal)) for ordinal in (0, 1))
    for end in (here, there):
        end.learn(secret("abcd"))
        end.converge("")
    old, before = here.generation, held(here)
    here.learn(secret("efgh"))
    here.converge(there.generation)
    assert (held(here), there.generation) == (before, old)
    there.learn(secret("efgh"))
    here.converge(there.generation)
    there.converge(here.generation)
    assert held(here) == Keys(key("e"), key("h"))
    assert held(there) == Keys(key("g"), key("f"))


def test_a_secret_that_is_gone_or_broken_changes_nothing_and_is_told_without_its_values(tmp_path: Path) -> None:
    keys = TunnelKeys(facts(tmp_path))
    keys.learn(secret("abcd"))
    keys.converge("")
    known = held(keys)
    broken = secret("efgh")
    broken["data"]["private-key-0"] = base64.b64encode(b"hunter2").decode()
    for told in (None, {}, broken):
        keys.learn(told)
        keys.converge(keys.generation)
        assert held(keys) == known
    assert keys.problem is not None
    assert "private-key-0" in keys.problem
    assert "hunter2" not in keys.problem
    assert broken["data"]["private-key-0"] not in keys.problem


def test_a_pod_on_another_node_begins_with_what_is_newest(tmp_path: Path) -> None:
    keys = TunnelKeys(replace(facts(tmp_path)))
    keys.learn(secret("efgh"))
    keys.converge("an older one")
    assert held(keys) == Keys(key("e"), key("h"))
