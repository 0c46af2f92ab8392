"""Status of the resources: what `kubectl get` and `kubectl describe` show, and what programs wait for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from okitoki.api.common import Strict


class StatusCondition(Strict):
    """One aspect of the state (Kubernetes API conventions)."""

    type: Annotated[str, Field(max_length=64)]
    """What the condition is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(max_length=128)]
    """Why, as one stable word."""
    message: Annotated[str, Field(max_length=4096)]
    """Why, for a person; if something is wrong, how to mend it."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """The generation of the spec that was looked at."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status last changed."""


class ResourceStatus(Strict):
    """What every resource reports."""

    observed_generation: Annotated[int | None, Field(ge=0, json_schema_extra={"format": "int64"})] = None
    """The generation of the spec that this status is about."""
    conditions: Annotated[
        list[StatusCondition] | None,
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = None
    """State by aspect; `Ready` sums up."""


class CertificateStatus(Strict):
    """The server certificate, as servers and clients were seen to use it. Authorities are named by the first 16
    hexadecimal digits of their certificate's SHA-256 fingerprint."""

    authority: Annotated[str | None, Field(max_length=16)] = None
    """Authority whose newest certificate every server shows; absent while they differ."""
    trusted: Annotated[list[str] | None, Field(max_length=8)] = None
    """Authorities that every client inside trusts."""
    expires: Annotated[str | None, Field(json_schema_extra={"format": "date-time"})] = None
    """When the newest certificate ends; a new one is made when two thirds of its life are over."""


class SwitchoverStatus(Strict):
    """What became of the last planned change of the primary that was asked for."""

    requested: Annotated[str, Field(max_length=64)]
    """The request's value: a time, and the member that was named if one was."""
    succeeded: bool
    """Whether another member has taken over."""
    message: Annotated[str, Field(max_length=1024)]
    """Why, or why not."""


class ReinitialisedStatus(Strict):
    """A standby that made no progress, and was made anew from the primary."""

    member: Annotated[str, Field(max_length=63)]
    """Its pod."""
    at: Annotated[str, Field(max_length=64)]
    """When it was begun (RFC 3339)."""
    message: Annotated[str, Field(max_length=1024)]
    """Why."""


class DatabaseStatus(Strict):
    """The PostgreSQL cluster."""

    primary: str | None = None
    """Pod that takes writes."""
    last_primary: str | None = None
    """Pod that takes writes, or took them last."""
    members: str | None = None
    """Members in order (the primary, and standbys that stream) of those wanted, such as 3/3."""
    storage: Annotated[str | None, Field(max_length=12, pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$")] = None
    """Size of the members' volumes now (of the largest)."""
    last_switchover: SwitchoverStatus | None = None
    """The last planned change of the primary."""
    last_reinitialised: ReinitialisedStatus | None = None
    """The member whose data were copied anew last, because it made no progress."""


class AppStatus(Strict):
    """The call-centre app."""

    replicas: str | None = None
    """Ready pods of those wanted, such as 2/2."""


class LandlineStatus(Strict):
    """Where a tenant's calls go in one region, since they first went to landlines."""

    region: Annotated[str, Field(max_length=40)]
    """Name of the VoiceRegion."""
    mode: Literal["Agents", "Landlines"]
    """Landlines: layer 1 is active, the edge calls landlines because no phone of the tenant answers."""
    since: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the last switch was."""
    reason: Annotated[str, Field(max_length=40)]
    """Why: NoRoutes, NoPhoneRegistered or PhonesSilent; PhoneAnswers for the way back."""
    switches: Annotated[int, Field(ge=0)]
    """How often calls have gone over to landlines so far."""


class BackupStatus(Strict):
    """The two layers of taking calls when servers or the tenant's site are away."""

    armed: list[Literal["Landlines", "CarrierForwarding"]] | None = None
    """Layers that would take calls."""
    landlines: list[LandlineStatus] | None = None
    """Layer 1 by region, of those where it has been active."""


class TenantStatus(ResourceStatus):
    """State of a Tenant."""

    namespace: str | None = None
    """The namespace that holds what the tenant runs."""
    hosts: list[str] | None = None
    """Host names, for SIP and HTTPS, one per region, home first."""
    database: DatabaseStatus | None = None
    """The PostgreSQL cluster."""
    app: AppStatus | None = None
    """The call-centre app."""
    certificate: CertificateStatus | None = None
    """The certificate of the app."""
    numbers: int | None = None
    """Telephone numbers that the tenant has now."""
    backup: BackupStatus | None = None
    """Which layer is armed, and which is active since when and why."""


class TrunkStatus(Strict):
    """A host of a carrier, as the edge's node with the SIP address sees it."""

    host: Annotated[str, Field(max_length=15)]
    """Its address."""
    carrier: Annotated[str, Field(max_length=40)]
    """Name of its carrier."""
    state: Literal["Answers", "Silent", "Refuses", "Unproven"]
    """Answers: to OPTIONS, with anything but 503. Silent: it did once. Refuses: with 503. Unproven: it never has."""
    since: Annotated[str | None, Field(json_schema_extra={"format": "date-time"})] = None
    """When that began."""
    code: Annotated[int | None, Field(ge=100, le=699)] = None
    """SIP status of the answer with which that began."""


class DrainStatus(Strict):
    """What became of the request to free a node of addresses."""

    node: Annotated[str, Field(max_length=253)]
    """The node that is asked for."""
    state: Literal["Waiting", "Moving", "Drained"]
    """Drained: the node can be serviced."""
    message: Annotated[str, Field(max_length=1024)]
    """How far it is, and why not further."""


class VoiceRegionStatus(ResourceStatus):
    """State of a VoiceRegion."""

    namespace: str | None = None
    """The namespace that holds the edge."""
    members: str | None = None
    """Edge pods that are ready of those wanted, such as 2/2."""
    holders: dict[str, str] | None = None
    """Which pod holds each address now; keys sip, https, media-1, media-2."""
    last_holders: dict[str, str] | None = None
    """Which pod holds each address, or held it last."""
    nodes: dict[str, str] | None = None
    """Node of each edge pod."""
    tenants: int | None = None
    """Tenants that the region serves."""
    trunks: list[TrunkStatus] | None = None
    """Hosts of the carriers; nothing while no node has the SIP address."""
    certificate: CertificateStatus | None = None
    """The certificate of the region's HTTPS address."""
    drain: DrainStatus | None = None
    """While a node is drained (`kubectl okitoki drain-edge`)."""
