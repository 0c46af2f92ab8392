"""Settings, logs, and that the source root shadows nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from okitoki.logs import log_context, set_up_logging
from okitoki.settings import SettingsError, load_settings

ENVIRONMENT = {
    "OKITOKI_IMAGE_APP": "app:1",
    "OKITOKI_IMAGE_POSTGRES": "postgres:1",
    "OKITOKI_IMAGE_EDGE": "edge:1",
    "POD_NAMESPACE": "okitoki-system",
    "POD_NAME": "operator-1",
}


def test_settings() -> None:
    found = load_settings(ENVIRONMENT)
    assert found.images.postgres == "postgres:1"
    assert (found.namespace, found.identity, found.log_style, found.health_port) == (
        "okitoki-system",
        "operator-1",
        "plain",
        8080,
    )


@pytest.mark.parametrize("name", ["OKITOKI_IMAGE_APP", "OKITOKI_IMAGE_POSTGRES", "OKITOKI_IMAGE_EDGE", "POD_NAMESPACE"])
def test_a_missing_setting_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is not set: "):
        load_settings({key: value for key, value in ENVIRONMENT.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OKITOKI_LOG_FORMAT", "xml"),
        ("OKITOKI_LOG_LEVEL", "loud"),
        ("OKITOKI_HEALTH_PORT", "0"),
        ("OKITOKI_METRICS_PORT", "x"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is '{value}': give"):
        load_settings({**ENVIRONMENT, name: value})


def test_json_logs_carry_the_tenant(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.root.handlers[:], logging.root.level
    try:
        set_up_logging("json", "info")
        with log_context("Tenant", "acme"):
            logging.getLogger("okitoki.test").info("creating %s", "Service")
        logging.getLogger("okitoki.test").info("idle")
    finally:
        logging.root.handlers[:] = before[0]
        logging.root.setLevel(before[1])
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (first["tenant"], first["message"], first["level"]) == ("acme", "creating Service", "info")
    assert "tenant" not in second


def test_the_source_root_does_not_shadow_the_standard_librarys_operator() -> None:
    root = Path(__file__).resolve().parents[3] / "operator"
    assert not (root / "__init__.py").exists()
    assert not (root / "operator.py").exists()
