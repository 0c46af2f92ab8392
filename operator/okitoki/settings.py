"""What the operator is told by its environment (docs/interfaces.md)."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from okitoki.reconcile.kind import Images


class SettingsError(Exception):
    """A setting is missing or wrong; says which and the mend."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """The operator's settings."""

    images: Images
    namespace: str
    identity: str
    """Holder of the lease: the pod's name."""
    log_style: Literal["plain", "json"]
    log_level: str
    health_port: int
    metrics_port: int


def load_settings(environ: Mapping[str, str]) -> OperatorSettings:
    """Raises `SettingsError`."""

    def need(name: str, mend: str) -> str:
        value = environ.get(name, "")
        if not value:
            raise SettingsError(f"{name} is not set: {mend}")
        return value

    def port(name: str, default: str) -> int:
        value = environ.get(name, default)
        if not value.isdecimal() or not 0 < int(value) < 65536:
            raise SettingsError(f"{name} is {value!r}: give a number from 1 to 65535")
        return int(value)

    def image(name: str) -> str:
        return need(f"OKITOKI_IMAGE_{name}", "the chart sets it; give the full name of the image with its tag")

    style = environ.get("OKITOKI_LOG_FORMAT", "plain")
    if style not in ("plain", "json"):
        raise SettingsError(f"OKITOKI_LOG_FORMAT is {style!r}: give plain or json")
    level = environ.get("OKITOKI_LOG_LEVEL", "info").lower()
    if level not in ("debug", "info", "warning", "error"):
        raise SettingsError(f"OKITOKI_LOG_LEVEL is {level!r}: give debug, info, warning or error")
    return OperatorSettings(
        images=Images(app=image("APP"), postgres=image("POSTGRES"), edge=image("EDGE")),
        namespace=need("POD_NAMESPACE", "the operator's own namespace, by the downward API"),
        identity=environ.get("POD_NAME") or socket.gethostname(),
        log_style="json" if style == "json" else "plain",
        log_level=level,
        health_port=port("OKITOKI_HEALTH_PORT", "8080"),
        metrics_port=port("OKITOKI_METRICS_PORT", "8081"),
    )
