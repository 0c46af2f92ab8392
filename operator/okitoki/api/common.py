"""What the resources share: strict models, and the CRD keywords that pydantic's JSON schema does not know."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

K8sSchema = dict[str, Any]


class Strict(BaseModel):
    """camelCase outside, snake_case inside; unknown fields are errors; values are frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )


class Metadata(BaseModel):
    """The part of a resource's metadata that builders use."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    uid: str
    generation: int = 1
    resource_version: str = Field("", alias="resourceVersion")
    annotations: Mapping[str, str] = Field(default_factory=dict)
    creation_timestamp: str = Field("", alias="creationTimestamp")


def rules(*pairs: tuple[str, str]) -> K8sSchema:
    """`x-kubernetes-validations`: CEL expressions with the message that names the field and the mend."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def _ipv4(value: str) -> str:
    ipaddress.IPv4Address(value)
    return value


_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4_PATTERN = rf"^{_OCTET}(\.{_OCTET}){{3}}$"

IPv4 = Annotated[
    str,
    AfterValidator(_ipv4),
    Field(
        json_schema_extra={
            "maxLength": 15,
            **rules((f"self.matches(r'{IPV4_PATTERN}')", "must be an IPv4 address such as 198.18.16.200")),
        }
    ),
]
"""An IPv4 address in dotted form."""

LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


def _label(value: str) -> str:
    if not re.match(LABEL_PATTERN, value):
        raise ValueError("must be lower-case letters, digits and -, such as sales or kyiv-1")
    return value


Name = Annotated[
    str,
    AfterValidator(_label),
    Field(
        min_length=1,
        max_length=40,
        json_schema_extra=rules(
            (f"self.matches(r'{LABEL_PATTERN}')", "must be lower-case letters, digits and -, such as sales or kyiv-1")
        ),
    ),
]
"""A DNS label of at most 40 characters (RFC 1123)."""
