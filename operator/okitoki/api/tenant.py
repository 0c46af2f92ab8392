"""Tenant: a company with its call-centre app, database, numbers and regions."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from okitoki.api.common import Metadata, Name, Strict, rules

UID_PATTERN = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
E164_PATTERN = r"^\+[1-9][0-9]{6,14}$"
QUANTITY_PATTERN = r"^[1-9][0-9]*(Mi|Gi|Ti)$"
MIN_STORAGE = "256Mi"
_UNITS = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def storage_bytes(size: str) -> int:
    """Bytes of a size such as `1Gi`."""
    return int(Decimal(size[:-2]) * _UNITS[size[-2:]])


def storage_size(size: int) -> str:
    """A number of bytes as a size such as `1Gi`, rounded up to whole Mi."""
    mebibytes = -(-size // _UNITS["Mi"])
    for unit in ("Ti", "Gi"):
        factor = _UNITS[unit] // _UNITS["Mi"]
        if mebibytes % factor == 0:
            return f"{mebibytes // factor}{unit}"
    return f"{mebibytes}Mi"


STORAGE_NEVER_SHRINKS = (
    "!has(self.status) || !has(self.status.database) || !has(self.status.database.storage) "
    f"|| !self.spec.database.storage.size.matches(r'{QUANTITY_PATTERN}') "
    "|| !quantity(self.spec.database.storage.size).isLessThan(quantity(self.status.database.storage))",
    "spec.database.storage.size cannot be less than status.database.storage: volumes only grow; "
    "set it to that size or more",
)
"""A rule of the whole object: what counts is what the volumes are, so that a growth that the storage class cannot do
can be taken back."""


def _e164(value: str) -> str:
    if not re.match(E164_PATTERN, value):
        raise ValueError("must be in E.164 form such as +380441234567")
    return value


Landline = Annotated[
    str,
    AfterValidator(_e164),
    Field(
        max_length=16,
        json_schema_extra=rules(
            (
                f"self.matches(r'{E164_PATTERN}')",
                "a landline must be in E.164 form: + and 7 to 15 digits with the country code, such as +380447654321",
            )
        ),
    ),
]
"""A landline's number in E.164 form."""

Landlines = Annotated[
    list[Landline],
    Field(
        max_length=4,
        default_factory=list,
        json_schema_extra=rules(
            ("self.all(a, self.exists_one(b, a == b))", "landlines must not name a number twice; remove one of both")
        ),
    ),
]


def _differ(value: list[str]) -> list[str]:
    if len(set(value)) != len(value):
        raise ValueError("must not name a number twice")
    return value


LANDLINES_ELSEWHERE = (
    "!has(self.spec.numbers) || !self.spec.numbers.exists(n, "
    "(has(self.spec.backup) && has(self.spec.backup.landlines) && n.number in self.spec.backup.landlines) "
    "|| (has(n.landlines) && n.number in n.landlines))",
    "spec.backup.landlines and spec.numbers[].landlines must not name one of spec.numbers: a call to it would come "
    "back; name a telephone elsewhere",
)


class Number(Strict):
    """A telephone number of the tenant and where its calls go."""

    number: Annotated[
        str,
        Field(
            max_length=16,
            json_schema_extra=rules(
                (
                    f"self.matches(r'{E164_PATTERN}')",
                    "spec.numbers[].number must be in E.164 form: + and 7 to 15 digits with the country code, "
                    "such as +380441234567",
                )
            ),
        ),
    ]
    """The number in E.164 form, such as +380441234567; one tenant of the platform has it."""
    queue: Name
    """The queue whose agents get its calls; made if it does not exist."""
    landlines: Landlines
    """Landlines of this number, in order, in place of spec.backup.landlines."""

    _number = field_validator("number")(_e164)
    _landlines = field_validator("landlines")(_differ)


class Backup(Strict):
    """The two layers of taking calls when servers or the tenant's site are away."""

    landlines: Landlines
    """Layer 1: called in order by the voice servers, within 3 s, when no phone of the tenant answers at all; for every
    number that has none of its own."""
    carrier_forwarding: bool = False
    """Layer 2: whether forwarding on no answer, busy and unreachable was ordered from the carrier for the numbers. The
    carrier does it; this says that it is to be counted on."""

    _landlines = field_validator("landlines")(_differ)


class App(Strict):
    """The call-centre app."""

    replicas: Annotated[int, Field(ge=1, le=20)] = 2
    """Number of pods; with one, its loss interrupts the API."""


class Storage(Strict):
    """A database member's volume."""

    size: Annotated[
        str,
        Field(
            max_length=12,
            json_schema_extra=rules(
                (
                    f"self.matches(r'{QUANTITY_PATTERN}') && !quantity(self).isLessThan(quantity('{MIN_STORAGE}'))",
                    f"spec.database.storage.size must be a whole number of Mi, Gi or Ti and at least {MIN_STORAGE}, "
                    "such as 10Gi",
                ),
            ),
        ),
    ] = "1Gi"
    """Size of each member's volume, in Mi, Gi or Ti; can grow where the storage class can expand volumes."""

    @field_validator("size")
    @classmethod
    def _size(cls, value: str) -> str:
        if not re.match(QUANTITY_PATTERN, value) or storage_bytes(value) < storage_bytes(MIN_STORAGE):
            raise ValueError(f"must be a whole number of Mi, Gi or Ti and at least {MIN_STORAGE}")
        return value


class Database(Strict):
    """The tenant's PostgreSQL cluster."""

    instances: Annotated[int, Field(ge=3, le=5)] = 3
    """Number of members (one primary), each on another node; a write waits for one standby, and with five for two."""
    storage: Storage = Storage()
    """Volumes of the members."""
    rebuild_after_seconds: Annotated[int, Field(ge=60, le=604800)] = 600
    """A member whose node has been lost for this long (seconds) is made anew on another one, from the primary; its old
    volume is given up. Only while a majority of the others is in order, one member at a time."""
    adopt: Annotated[
        str | None,
        Field(
            max_length=36,
            json_schema_extra=rules(
                (
                    f"self.matches(r'{UID_PATTERN}')",
                    "spec.database.adopt must be the uid of the Tenant whose data are kept, as `kubectl get namespaces "
                    "-l platform.oki-toki.net/retained -L platform.oki-toki.net/owner-uid` shows it",
                )
            ),
        ),
    ] = None
    """Uid of an earlier, deleted Tenant of the same name whose retained data this one takes over. Without it retained
    data are never touched; with it nothing is made while there are no such data."""

    @field_validator("adopt")
    @classmethod
    def _uid(cls, value: str | None) -> str | None:
        if value is not None and not re.match(UID_PATTERN, value):
            raise ValueError("must be the uid of the Tenant whose data are kept")
        return value


class TenantSpec(Strict):
    """What the user wants of a tenant."""

    display_name: Annotated[str, Field(min_length=1, max_length=100)]
    """The company's name as people read it."""
    regions: Annotated[
        list[Name],
        Field(
            min_length=1,
            max_length=8,
            json_schema_extra=rules(
                ("self.all(r, self.exists_one(s, s == r))", "spec.regions must not name a VoiceRegion twice")
            ),
        ),
    ]
    """Names of the VoiceRegions that serve the tenant, home first."""
    numbers: Annotated[
        list[Number],
        Field(
            max_length=256,
            default_factory=list,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["number"]},
        ),
    ]
    """The tenant's telephone numbers."""
    backup: Backup = Backup(landlines=[])
    """Where calls go when agents cannot be reached."""
    app: App = App()
    """The call-centre app."""
    database: Database = Database()
    """The PostgreSQL cluster."""
    state: Literal["Active", "Paused", "Restricted", "Suspended"] = "Active"
    """Active: in service. Restricted: operators' phones and logins are refused, incoming calls go to the landlines, the
    API serves and everything runs. Suspended: everything runs, and calls, phones and API requests are refused. Paused:
    nothing runs; the data are kept and are all there when the tenant is Active again."""
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """What the deletion of this Tenant does with its data: Retain keeps volumes and credentials in its namespace until
    somebody adopts (`spec.database.adopt`) or deletes them; Delete erases them."""

    @field_validator("regions")
    @classmethod
    def _regions_differ(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError("must not name a VoiceRegion twice")
        return value

    @field_validator("numbers")
    @classmethod
    def _numbers_differ(cls, value: list[Number]) -> list[Number]:
        if len({number.number for number in value}) != len(value):
            raise ValueError("must not name a number twice")
        return value

    @model_validator(mode="after")
    def _landlines_are_elsewhere(self) -> TenantSpec:
        own = {number.number for number in self.numbers}
        for landlines in (self.backup.landlines, *(number.landlines for number in self.numbers)):
            if both := sorted(own & set(landlines)):
                raise ValueError(f"backup.landlines: {both[0]} is one of spec.numbers; name a telephone elsewhere")
        return self


class Tenant(Strict):
    """A Tenant as builders get it."""

    metadata: Metadata
    spec: TenantSpec
