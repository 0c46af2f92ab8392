"""What a run is told: Locust's own arguments plus ours, each also by environment variable."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from okitoki_load.attempts import DEADLINE_SECONDS
from okitoki_load.writer import REQUESTS_AT_ONCE

SHAPES = ("none", "steady", "ramp", "burst")
# A user that is told to stop ends its task first. What is in flight does not depend on it (see `run.Run`).
STOP_TIMEOUT_SECONDS = 15.0
COLLECT_PORT = 5559


class OptionError(ValueError):
    """An option that cannot be used; says which and what it should be."""


def add_arguments(parser: ArgumentParser) -> None:
    """Our arguments; Locust shows them in its web page too."""
    parser.set_defaults(stop_timeout=STOP_TIMEOUT_SECONDS)

    def add(name: str, default: Any, text: str, **more: Any) -> None:
        variable = "OKITOKI_" + name.upper().replace("-", "_")
        parser.add_argument(f"--{name}", env_var=variable, default=default, help=text, **more)

    fixed = {"include_in_web_ui": False}  # what cannot change once the process runs
    add("api-key-file", "", "file with an API key of the tenant")
    add("ca-file", "", "certificates to trust instead of the system's")
    add("address", "", "address of the region's HTTPS, where there is no DNS for --host")
    add("numbers", "", "numbers of the tenant, +380…, with commas between; the first is the one written and called")
    add("ledger", "build/load", "folder for the results; each run makes one of its own in it", **fixed)
    add("seed", 1, "of keys, numbers and moments", type=int)
    add("rate", 5.0, "operations that an API user starts per second", type=float)
    add("deadline", DEADLINE_SECONDS, "seconds for an operation with all its retries", type=float)
    add("requests-at-once", REQUESTS_AT_ONCE, "requests that one process has under way", type=int)
    add("shape", "none", "how the number of users (-u) goes over the run time (-t)", choices=SHAPES, **fixed)
    add("judge", "yes", "after the run, read back and judge; the verdict is the exit code", choices=("yes", "no"))
    add("collect-port", COLLECT_PORT, "port of the master where workers bring their ledgers", type=int, **fixed)
    add("patience", 60.0, "seconds to wait for call records, and for the API itself, before judging", type=float)
    _add_phone_arguments(add)


def _add_phone_arguments(add: Any) -> None:
    add("sip", "", "HOST[:PORT] of the region's SIP, for agents and callers")
    add("phone-address", "", "own address that the agents' phones have")
    add("trunk", "", "own HOST[:PORT] that the region knows as a carrier, for callers")
    add("caller", "+380501112233", "number that callers show")
    add("agents-file", "", 'file with {"1001": "SIP secret", …}, as `okitoki_load provision` writes it')
    add("agents", 0, "how many of the users (-u) are agents' phones", type=int)
    add("callers", 0, "how many of the users (-u) are callers", type=int)
    add("call-every", 5.0, "seconds from one start of a caller's calls to the next", type=float)
    add("talk", "3:8", "how long a call lasts, LEAST:MOST seconds")


@dataclass(frozen=True)
class Target:
    """A tenant in a region, as a client reaches it."""

    host: str
    port: int
    address: str
    ca: Path | None
    key_file: Path

    @property
    def tenant(self) -> str:
        return self.host.partition(".")[0]

    @property
    def region(self) -> str:
        """The region's domain: what a tenant's host name has after its first dot."""
        return self.host.partition(".")[2]

    def key(self) -> str:
        """The API key. Raises OptionError."""
        try:
            key = self.key_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise OptionError(f"--api-key-file {self.key_file}: {error.strerror}") from error
        if not key or not key.isascii():
            raise OptionError(f"--api-key-file {self.key_file}: holds no key")
        return key


@dataclass(frozen=True)
class Phones:
    """Where phones are and whom they call."""

    server: tuple[str, int]
    address: str
    trunk: tuple[str, int] | None
    caller: str
    secrets_file: Path | None
    agents: int
    call_every: float
    talk: tuple[float, float]


@dataclass(frozen=True)
class Options:
    """Everything, checked."""

    target: Target
    numbers: tuple[str, ...]
    ledger: Path
    seed: int
    rate: float
    deadline: float
    requests_at_once: int
    patience: float
    phones: Phones | None = field(default=None)

    @classmethod
    def read(cls, given: Namespace, host: str | None) -> Options:
        """Raises OptionError with the name of the option and what it should be."""
        values = vars(given)
        numbers = tuple(one.strip() for one in str(values["numbers"]).split(",") if one.strip())
        if not numbers or not all(one.startswith("+") and one[1:].isdigit() for one in numbers):
            raise OptionError(f"--numbers {values['numbers']!r}: give numbers of the tenant such as +380441234567")
        return cls(
            target=_target(values, host),
            numbers=numbers,
            ledger=Path(values["ledger"]),
            seed=int(values["seed"]),
            rate=_positive(values, "rate"),
            deadline=_positive(values, "deadline"),
            requests_at_once=int(_positive(values, "requests_at_once")),
            patience=_positive(values, "patience"),
            phones=_phones(values),
        )


def _target(values: Mapping[str, Any], host: str | None) -> Target:
    parts = urlsplit(host or "")
    if parts.scheme != "https" or not parts.hostname or "." not in parts.hostname:
        raise OptionError(f"--host {host!r}: give https://TENANT.DOMAIN, the tenant's name in the region")
    if not values["api_key_file"]:
        raise OptionError("--api-key-file: give a file with an API key of the tenant")
    key_file = Path(values["api_key_file"])
    ca = Path(values["ca_file"]) if values["ca_file"] else None
    if ca is not None and not ca.is_file():
        raise OptionError(f"--ca-file {ca}: there is no such file")
    target = Target(parts.hostname, parts.port or 443, values["address"] or parts.hostname, ca, key_file)
    target.key()
    return target


def _phones(values: Mapping[str, Any]) -> Phones | None:
    if not values["sip"]:
        return None
    if not values["phone_address"] and not values["trunk"]:
        raise OptionError("--sip: give --phone-address for agents or --trunk for callers as well")
    trunk = _endpoint("--trunk", values["trunk"]) if values["trunk"] else None
    least, _, most = str(values["talk"]).partition(":")
    try:
        talk = float(least), float(most)
    except ValueError:
        raise OptionError(f"--talk {values['talk']!r}: give LEAST:MOST seconds, such as 3:8") from None
    if not 0 < talk[0] <= talk[1]:
        raise OptionError(f"--talk {values['talk']!r}: the smaller one comes first")
    return Phones(
        server=_endpoint("--sip", values["sip"]),
        address=values["phone_address"] or (trunk[0] if trunk else ""),
        trunk=trunk,
        caller=values["caller"],
        secrets_file=Path(values["agents_file"]) if values["agents_file"] else None,
        agents=int(values["agents"]),
        call_every=_positive(values, "call_every"),
        talk=talk,
    )


def _endpoint(option: str, text: str) -> tuple[str, int]:
    host, colon, port = text.partition(":")
    if not host or (colon and not port.isdigit()):
        raise OptionError(f"{option} {text!r}: give HOST or HOST:PORT")
    return host, int(port) if port else 5060


def _positive(values: Mapping[str, Any], name: str) -> float:
    value = float(values[name])
    if value <= 0:
        raise OptionError(f"--{name.replace('_', '-')} {value:g}: give a number above 0")
    return value


def read_secrets(text: str) -> Mapping[str, str]:
    """Agents and their secrets from a file's text. Raises OptionError."""
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise OptionError(f"--agents-file: not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(secret, str) for secret in found.values()):
        raise OptionError('--agents-file: give {"1001": "SIP secret", …}')
    return found
