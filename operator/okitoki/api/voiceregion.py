"""VoiceRegion: where calls land, an edge pair with its addresses, carriers and ports."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from okitoki.api.common import IPv4, Metadata, Name, Strict, rules

PORTS_PER_CALL = 4
"""RTP and RTCP, on both legs of a relayed call."""
MIN_MEDIA_PORTS = 100
MAX_CALLS = 16128
"""What all ports from 1024 on would carry."""
ADVERT_PATTERN = r"^[1-9][0-9]{1,3}ms$"
DOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$"


class PortRange(Strict):
    """UDP ports, both ends included."""

    from_: Annotated[int, Field(alias="from", ge=1024, le=65535)]
    """First UDP port; even, because RTP uses the even port of a pair (RFC 3550)."""
    to: Annotated[int, Field(ge=1024, le=65535)]
    """Last UDP port; odd, because RTCP uses the odd port of a pair."""

    @model_validator(mode="after")
    def _usable(self) -> PortRange:
        if self.from_ % 2 or not self.to % 2:
            raise ValueError("from must be even and to odd")
        if self.to - self.from_ + 1 < MIN_MEDIA_PORTS:
            raise ValueError(f"must hold at least {MIN_MEDIA_PORTS} ports")
        return self


class Media(Strict):
    """Where the audio of calls goes through."""

    port_range: Annotated[
        PortRange,
        Field(
            json_schema_extra=rules(
                (
                    "self.from % 2 == 0",
                    "spec.media.portRange.from must be even: RTP takes the even port of each pair, RTCP the odd one",
                ),
                (
                    "self.to % 2 == 1",
                    "spec.media.portRange.to must be odd: the range holds whole pairs of an RTP and an RTCP port",
                ),
                (
                    f"self.to - self.from + 1 >= {MIN_MEDIA_PORTS}",
                    f"spec.media.portRange must hold at least {MIN_MEDIA_PORTS} ports: a call takes {PORTS_PER_CALL}, "
                    "so raise to or lower from",
                ),
            )
        ),
    ]
    """UDP ports of RTP and RTCP on the media addresses; a call takes four."""
    max_calls: Annotated[int | None, Field(ge=1, le=MAX_CALLS)] = None
    """Calls at a time, in and out, ringing ones included; beyond it new ones are refused (503, Retry-After), and those
    in progress go on. Without it only the ports are a limit."""

    @model_validator(mode="after")
    def _ports_for_calls(self) -> Media:
        ports = self.port_range.to - self.port_range.from_ + 1
        if self.max_calls is not None and self.max_calls * PORTS_PER_CALL > ports:
            raise ValueError(f"maxCalls needs {PORTS_PER_CALL} ports for each call: portRange has {ports}")
        return self


class Addresses(Strict):
    """The region's own addresses in the nodes' network; the edge pair holds each on one node at a time."""

    sip: IPv4
    """SIP over UDP and TCP, port 5060, and over TLS, port 5061: carriers and agents' phones."""
    https: IPv4
    """HTTPS, port 443: the tenants' API and console by host name."""
    media: Annotated[list[IPv4], Field(min_length=2, max_length=2)]
    """RTP: two addresses, so that both nodes relay calls."""

    @model_validator(mode="after")
    def _different(self) -> Addresses:
        if len({self.sip, self.https, *self.media}) != 4:
            raise ValueError("sip, https and both media addresses must be four different addresses")
        return self


class Failover(Strict):
    """How fast the edge pair notices that a node is gone."""

    advert_interval: Annotated[
        str,
        Field(
            json_schema_extra={
                "maxLength": 8,
                **rules(
                    (
                        f"self.matches(r'{ADVERT_PATTERN}') && duration(self) >= duration('20ms') "
                        "&& duration(self) <= duration('1000ms')",
                        "spec.failover.advertInterval must be whole milliseconds from 20ms to 1000ms, such as 100ms",
                    )
                ),
            }
        ),
    ] = "100ms"
    """What the time until a takeover is made of, in milliseconds: a standby takes over 3.2 times as long after the last
    VRRP advert (RFC 9568), and a little more; adverts are sent 2.5 times as often, so that a late one is no fault."""

    @field_validator("advert_interval")
    @classmethod
    def _in_range(cls, value: str) -> str:
        if not re.match(ADVERT_PATTERN, value) or not 20 <= int(value[:-2]) <= 1000:
            raise ValueError("must be whole milliseconds from 20ms to 1000ms, such as 100ms")
        return value

    @property
    def advert_milliseconds(self) -> int:
        """The interval as a number of milliseconds."""
        return int(self.advert_interval.removesuffix("ms"))


class Carrier(Strict):
    """A telephone company that sends incoming calls."""

    name: Name
    """Name of the carrier in this region."""
    hosts: Annotated[list[IPv4], Field(min_length=1, max_length=32)]
    """IPv4 addresses its calls come from; requests of others are refused."""
    probe_seconds: Annotated[int, Field(ge=0, le=300)] = 5
    """How often each host is asked (OPTIONS, from the SIP address) whether it takes calls, in seconds; two questions
    without an answer make it dead, and calls go through the others. 0: never, for a carrier that ignores OPTIONS."""


class VoiceRegionSpec(Strict):
    """What the user wants of a region."""

    domain: Annotated[
        str,
        Field(
            max_length=120,
            json_schema_extra=rules(
                (
                    f"self.matches(r'{DOMAIN_PATTERN}')",
                    "spec.domain must be a DNS domain in lower case such as kyiv.example.com",
                ),
                (
                    "self == oldSelf",
                    "spec.domain cannot be changed: phones and API clients of all tenants use it; make a new "
                    "VoiceRegion and move the tenants there",
                ),
            ),
        ),
    ]
    """DNS domain of the region; a tenant's host name, for SIP and HTTPS, is TENANT.domain. Cannot be changed."""
    node_selector: Annotated[dict[str, str], Field(min_length=1, max_length=16)]
    """Labels of the nodes that may carry the edge; at least two nodes must match."""
    addresses: Annotated[
        Addresses,
        Field(
            json_schema_extra=rules(
                (
                    "self.sip != self.https && !(self.sip in self.media) && !(self.https in self.media) "
                    "&& self.media[0] != self.media[1]",
                    "spec.addresses: sip, https and both media addresses must be four different addresses",
                )
            )
        ),
    ]
    """The region's own addresses, free ones of the nodes' network."""
    media: Annotated[
        Media,
        Field(
            json_schema_extra=rules(
                (
                    f"!has(self.maxCalls) || self.maxCalls * {PORTS_PER_CALL} "
                    "<= self.portRange.to - self.portRange.from + 1",
                    f"spec.media.maxCalls: a call takes {PORTS_PER_CALL} ports, also when one address carries all "
                    "calls; lower it or widen spec.media.portRange",
                )
            )
        ),
    ]
    """Relay of the audio."""
    failover: Failover = Failover()
    """How fast a lost node is noticed."""
    carriers: Annotated[
        list[Carrier],
        Field(
            min_length=1,
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """Who may send incoming calls."""

    @field_validator("domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if not re.match(DOMAIN_PATTERN, value):
            raise ValueError("must be a DNS domain in lower case such as kyiv.example.com")
        return value

    @field_validator("carriers")
    @classmethod
    def _carriers_differ(cls, value: list[Carrier]) -> list[Carrier]:
        if len({carrier.name for carrier in value}) != len(value):
            raise ValueError("names must differ")
        return value


class VoiceRegion(Strict):
    """A VoiceRegion as builders get it."""

    metadata: Metadata
    spec: VoiceRegionSpec
