"""Configuration of the phones: JSON files, checked, with errors that name the field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from okitoki_phones.transaction import Address

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be used; says which field and what it should be."""


class Section:
    """One object of a configuration, read field by field."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, Mapping):
            raise ConfigError(f"{where or 'the file'}: must be an object")
        self._values = values
        self._where = where
        self._known: set[str] = set()

    def _path(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name

    def _take(self, name: str, kinds: type | tuple[type, ...], default: Any, what: str) -> Any:
        self._known.add(name)
        value = self._values.get(name, default)
        if value is ...:
            raise ConfigError(f"{self._path(name)}: missing; give {what}")
        if not isinstance(value, kinds) or isinstance(value, bool) != (kinds is bool):
            raise ConfigError(f"{self._path(name)}: is {value!r}; give {what}")
        return value

    def text(self, name: str, default: Any = ...) -> str:
        value = self._take(name, str, default, "a text")
        if not value:
            raise ConfigError(f"{self._path(name)}: is empty")
        return str(value)

    def number(self, name: str, default: Any = ..., *, least: float = 0.0) -> float:
        value = self._take(name, (int, float), default, f"a number from {least:g} on")
        if value < least:
            raise ConfigError(f"{self._path(name)}: is {value!r}; give a number from {least:g} on")
        return float(value)

    def integer(self, name: str, default: Any = ..., *, least: int = 0, most: int = 1 << 31) -> int:
        value = self._take(name, int, default, f"a whole number from {least} to {most}")
        if not least <= value <= most:
            raise ConfigError(f"{self._path(name)}: is {value!r}; give a whole number from {least} to {most}")
        return int(value)

    def flag(self, name: str) -> bool:
        """False if it is not there."""
        return bool(self._take(name, bool, False, "true or false"))

    def part(self, name: str, read: Callable[[Section], T]) -> T | None:
        """An object of its own; None if it is not there."""
        if name not in self._values:
            return None
        return read(Section(self._take(name, Mapping, ..., "an object"), self._path(name)))

    def address(self, name: str) -> Address:
        """`{"host": …, "port": …}`."""
        inner = Section(self._take(name, Mapping, ..., "an object with host and port"), self._path(name))
        result = inner.text("host"), inner.integer("port", 5060, most=65535)
        inner.done()
        return result

    def addresses(self, name: str) -> tuple[Address, ...]:
        """A list of `{"host": …, "port": …}`, empty if it is not there."""
        found = []
        for item in self.sections(name):
            found.append((item.text("host"), item.integer("port", 5060, most=65535)))
            item.done()
        return tuple(found)

    def sections(self, name: str) -> list[Section]:
        items = self._take(name, list, [], "a list")
        return [Section(item, f"{self._path(name)}[{index}]") for index, item in enumerate(items)]

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, empty if it is not there."""
        items = self._take(name, list, [], "a list of texts")
        if not all(isinstance(item, str) and item for item in items):
            raise ConfigError(f"{self._path(name)}: is {items!r}; give a list of texts that are not empty")
        return tuple(items)

    def range(self, name: str, default: list[float]) -> tuple[float, float]:
        """`[least, most]`, in seconds."""
        value = self._take(name, list, default, "a list of two numbers")
        if len(value) != 2 or not all(isinstance(x, int | float) for x in value) or not 0 <= value[0] <= value[1]:
            raise ConfigError(f"{self._path(name)}: is {value!r}; give two numbers, the smaller one first")
        return float(value[0]), float(value[1])

    def done(self) -> None:
        """Refuse what was not asked for: a misspelt field would otherwise be a silent default."""
        if unknown := sorted(set(self._values) - self._known):
            raise ConfigError(f"{self._path(unknown[0])}: unknown field; known are {', '.join(sorted(self._known))}")


@dataclass(frozen=True)
class AgentConfig:
    """One agent's phone."""

    username: str
    domain: str
    secret: str = field(repr=False)
    tenant: str | None = None
    port: int = 0


@dataclass(frozen=True)
class TlsConfig:
    """SIP over TLS."""

    ca: str
    """File of the CA that the server's certificate must be of."""
    server_name: str
    """The name that it must bear."""
    keepalive: float = 10.0
    """Seconds between pings (RFC 5626 section 3.5.1)."""

    @classmethod
    def read(cls, section: Section) -> TlsConfig:
        found = cls(section.text("ca"), section.text("serverName"), section.number("keepaliveSeconds", 10.0, least=0.5))
        section.done()
        return found


@dataclass(frozen=True)
class AgentsConfig:
    """A process of agents' phones."""

    host: str
    server: Address
    agents: tuple[AgentConfig, ...]
    ring_seconds: tuple[float, float] = (0.3, 1.2)
    expires: int = 60
    seed: int = 1
    tls: TlsConfig | None = None
    """None: UDP."""
    srtp: bool = False
    """Whether the phones know SRTP; one that does not refuses a call that must be encrypted (488)."""
    rolled_over: int = 0
    """See `okitoki_phones.rtp.Sender`."""

    @classmethod
    def read(cls, values: Any) -> AgentsConfig:
        top = Section(values, "")
        agents = []
        for item in top.sections("agents"):
            agents.append(
                AgentConfig(
                    username=item.text("username"), domain=item.text("domain"), secret=item.text("secret"),
                    tenant=item.text("tenant", "-"), port=item.integer("port", 0, most=65535),
                )
            )  # fmt: skip
            item.done()
        if not agents:
            raise ConfigError("agents: is empty; give at least one agent")
        config = cls(
            host=top.text("host"), server=top.address("server"), agents=tuple(agents),
            ring_seconds=top.range("ringSeconds", [0.3, 1.2]), expires=top.integer("expires", 60, least=4),
            seed=top.integer("seed", 1), tls=top.part("tls", TlsConfig.read), srtp=top.flag("srtp"),
            rolled_over=top.integer("rolledOver", 0),
        )  # fmt: skip
        top.done()
        return config


@dataclass(frozen=True)
class LongCalls:
    """Calls that begin at the start and last until the end, to span whatever happens between."""

    number: str
    tenant: str
    count: int


@dataclass(frozen=True)
class ShortCalls:
    """An open stream of calls: one every so many seconds, however the earlier ones fare."""

    number: str
    tenant: str
    every: float
    talk: tuple[float, float]


@dataclass(frozen=True)
class CarrierConfig:
    """A carrier's trunk and its schedule of calls."""

    address: Address
    server: Address
    caller: str
    long: tuple[LongCalls, ...] = ()
    short: tuple[ShortCalls, ...] = ()
    ring_limit: float = 30.0
    seconds: float | None = None
    seed: int = 1
    landlines: tuple[str, ...] = ()
    """Numbers of landline phones behind this carrier, which answer what the platform sends to them."""
    landline_ring_seconds: tuple[float, float] = (0.3, 1.2)
    more_servers: tuple[Address, ...] = ()
    """Further addresses of the platform, tried in order when the one before is unreachable."""
    forward_to: str | None = None
    """One of `landlines`, to which the carrier forwards on no answer, busy and unreachable (layer 2)."""
    srtp: bool = False
    """Offer SRTP, and nothing else."""
    rolled_over: int = 0
    """See `okitoki_phones.rtp.Sender`."""
    unreachable_seconds: float | None = None
    """An address that says nothing for this long is unreachable; None: RFC 3261's timer B."""

    @classmethod
    def read(cls, values: Any) -> CarrierConfig:
        top = Section(values, "")
        long, short = [], []
        for item in top.sections("long"):
            long.append(LongCalls(item.text("number"), item.text("tenant"), item.integer("count", least=1)))
            item.done()
        for item in top.sections("short"):
            short.append(
                ShortCalls(
                    item.text("number"), item.text("tenant"), item.number("everySeconds", least=0.05),
                    item.range("talkSeconds", [3.0, 8.0]),
                )
            )  # fmt: skip
            item.done()
        seconds = top.number("seconds", 0.0)
        config = cls(
            address=top.address("address"), server=top.address("server"), caller=top.text("caller", "+380500000000"),
            long=tuple(long), short=tuple(short), ring_limit=top.number("ringLimitSeconds", 30.0, least=1.0),
            seconds=seconds or None, seed=top.integer("seed", 1), landlines=top.texts("landlines"),
            landline_ring_seconds=top.range("landlineRingSeconds", [0.3, 1.2]),
            more_servers=top.addresses("moreServers"),
            srtp=top.flag("srtp"), rolled_over=top.integer("rolledOver", 0),
            forward_to=top.text("forwardTo", "-"), unreachable_seconds=top.number("unreachableSeconds", 0.0) or None,
        )  # fmt: skip
        if not (long or short or config.landlines):
            raise ConfigError("long, short, landlines: all are empty; give calls to make, or landlines to answer for")
        if config.forward_to == "-":
            config = replace(config, forward_to=None)
        elif config.forward_to not in config.landlines:
            raise ConfigError(f"forwardTo: {config.forward_to!r} is not in landlines; add it there")
        top.done()
        return config


def load(path: Path) -> Any:
    """The JSON of a configuration file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
