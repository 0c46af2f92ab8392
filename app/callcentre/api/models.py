"""The shapes of requests and replies. JSON names are in camel case; an unknown field is an error."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_E164 = re.compile(r"\+[1-9][0-9]{1,14}", re.ASCII)
_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)
_QUEUE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("holds control characters; remove them")
    return text


def _matching(pattern: re.Pattern[str], mend: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(mend)
        return text

    return AfterValidator(check)


def _only_text(value: object) -> object:
    """pydantic would take a number for seconds since 1970; RFC 3339 is what the interface says."""
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", value):
        return value
    if isinstance(value, datetime):
        return value
    raise ValueError("give a time as in RFC 3339, for example 2026-03-01T12:00:00Z (in a URL write + as %2B)")


def _plausible(value: datetime) -> datetime:
    if not 2000 <= value.year < 2100:
        raise ValueError("give a time between the years 2000 and 2100")
    return value.astimezone(UTC)


Text = Annotated[str, AfterValidator(_printable)]
E164 = Annotated[str, _matching(_E164, "give a number in E.164, for example +380441234567")]
Username = Annotated[
    str, _matching(_USERNAME, "give 1 to 32 letters, digits, '.', '_' or '-', beginning with a letter or digit")
]
QueueName = Annotated[
    str, _matching(_QUEUE, "give 1 to 63 lower-case letters, digits or '-', beginning and ending with no '-'")
]
Time = Annotated[AwareDatetime, BeforeValidator(_only_text), AfterValidator(_plausible)]
RecordKey = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_printable)]


def _unique(values: list[str]) -> list[str]:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} is listed twice; list it once")
    return values


class Shape(BaseModel):
    """Base of all shapes."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")


class AgentIn(Shape):
    username: Username
    display_name: Annotated[Text, Field(max_length=128)] = ""


class AgentOut(Shape):
    username: str
    display_name: str
    queues: list[str]
    created_at: datetime
    secret_set_at: datetime


class SipSecretOut(Shape):
    """Shown once; `realm` is the digest realm that belongs to it."""

    username: str
    realm: str
    sip_secret: str


class QueueIn(Shape):
    agents: Annotated[list[Username], Field(max_length=10_000), AfterValidator(_unique)]


class QueueOut(Shape):
    name: str
    agents: list[str]


class NumberRoute(Shape):
    number: E164
    queue: QueueName


def _numbers_are_unique(routes: list[NumberRoute]) -> list[NumberRoute]:
    _unique([route.number for route in routes])
    return routes


class TenantIn(Shape):
    name: Annotated[Text, Field(min_length=1, max_length=63)]
    display_name: Annotated[Text, Field(max_length=256)] = ""
    numbers: Annotated[list[NumberRoute], Field(max_length=10_000), AfterValidator(_numbers_are_unique)]
    restricted: bool = False
    """Operators get no login (`spec.state: Restricted`)."""


class ApiKeyIn(Shape):
    name: Annotated[Text, Field(min_length=1, max_length=128)]


class ApiKeyOut(Shape):
    """`seeded`: it comes from the Secret api-admin and can't be deleted here."""

    prefix: str
    name: str
    seeded: bool
    created_at: datetime


class NewApiKeyOut(ApiKeyOut):
    """`key` is shown once."""

    key: str


class CallRecordBase(Shape):
    direction: Literal["in", "out"]
    number: E164
    caller: Annotated[Text, Field(max_length=128)]
    agent: Annotated[Text, Field(max_length=64)] | None = None
    landline: E164 | None = None
    queue: Annotated[Text, Field(max_length=64)] | None = None
    started_at: Time
    answered_at: Time | None = None
    ended_at: Time
    end_reason: Annotated[Text, Field(max_length=64)]
    call_id: Annotated[Text, Field(max_length=512)] | None = None
    note: Annotated[Text, Field(max_length=200)] | None = None


class CallRecordIn(CallRecordBase):
    """As clients write it: its times must be in order. (A field's validator sees the fields before it.)"""

    @field_validator("answered_at", "ended_at")
    @classmethod
    def _not_before(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        for earlier in ("started_at", "answered_at"):
            before = info.data.get(earlier) if earlier != info.field_name else None
            if value is not None and before is not None and value < before:
                raise ValueError(f"is before {to_camel(earlier)}; correct the times")
        return value


class EdgeCallRecordIn(CallRecordBase):
    """As the edge writes it: a call that took place is not refused because two nodes' clocks differ, or because an edge
    of a newer version says more of it."""

    model_config = ConfigDict(extra="ignore")


class CallRecordOut(CallRecordBase):
    id: str
    recorded_at: datetime


def shape_rows(shape: type[Shape], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Database rows as JSON of a shape. They were checked when they came in and are not checked again."""
    return [shape.model_construct(None, **row).model_dump(mode="json", by_alias=True) for row in rows]
