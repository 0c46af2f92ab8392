from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from okitoki_phones.__main__ import main
from okitoki_phones.config import AgentsConfig, CarrierConfig, ConfigError

AGENTS: dict[str, Any] = {
    "host": "198.18.0.5",
    "server": {"host": "198.18.0.9", "port": 5060},
    "agents": [{"username": "1001", "domain": "acme.test", "secret": "s", "tenant": "acme"}],
}
CARRIER: dict[str, Any] = {
    "address": {"host": "198.18.0.6"},
    "server": {"host": "198.18.0.9"},
    "long": [{"number": "+380", "tenant": "acme", "count": 2}],
    "short": [{"number": "+380", "tenant": "acme", "everySeconds": 2, "talkSeconds": [1, 2]}],
}


def test_good_files_are_read() -> None:
    assert AgentsConfig.read(AGENTS).agents[0].username == "1001"
    config = CarrierConfig.read(CARRIER)
    assert config.address == ("198.18.0.6", 5060)
    assert config.short[0].talk == (1.0, 2.0)


def test_secrets_stay_out_of_representations() -> None:
    assert "secret" not in repr(AgentsConfig.read({**AGENTS, "agents": [{**AGENTS["agents"][0], "secret": "secret"}]}))


@pytest.mark.parametrize(
    ("kind", "change", "error"),
    [
        (AgentsConfig, {"agents": []}, "agents: is empty"),
        (AgentsConfig, {"agents": [{"username": "1"}]}, r"agents\[0\].domain: missing"),
        (AgentsConfig, {"host": 5}, "host: is 5"),
        (AgentsConfig, {"server": "x"}, "server: is 'x'"),
        (AgentsConfig, {"expires": 1}, "expires: is 1"),
        (AgentsConfig, {"expires": True}, "expires: is True"),
        (AgentsConfig, {"ringSeconds": [2, 1]}, "ringSeconds: is"),
        (AgentsConfig, {"agnets": []}, "agnets: unknown field"),
        (CarrierConfig, {"long": [], "short": [], "landlines": []}, "all are empty"),
        (AgentsConfig, {"tls": {"ca": "f"}}, "tls.serverName: missing"),
        (AgentsConfig, {"srtp": 1}, "srtp: is 1"),
        (CarrierConfig, {"address": {"host": "h", "port": 70000}}, "address.port: is 70000"),
        (CarrierConfig, {"short": [{"number": "+1", "tenant": "a"}]}, r"short\[0\].everySeconds: missing"),
    ],
)
def test_bad_files_are_refused_with_the_fields_name(kind: Any, change: dict[str, Any], error: str) -> None:
    base = AGENTS if kind is AgentsConfig else CARRIER
    with pytest.raises(ConfigError, match=error):
        kind.read({**base, **change})


def test_the_command_says_what_is_wrong_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.json").write_text("{}")
    assert main(["carrier", "--config", str(tmp_path / "c.json"), "--out", str(tmp_path)]) == 2
    assert "c.json" in capsys.readouterr().err


def test_the_process_writes_its_results_when_it_is_terminated(tmp_path: Path) -> None:
    values = {**CARRIER, "address": {"host": "127.0.0.1", "port": 0}, "server": {"host": "127.0.0.1", "port": 9},
              "long": [], "short": [{**CARRIER["short"][0], "everySeconds": 60}]}  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(values))
    root = Path(__file__).resolve().parents[3] / "loadtests"
    process = subprocess.Popen(
        [sys.executable, "-m", "okitoki_phones", "carrier", "--config", "c.json", "--out", "out"],
        cwd=tmp_path, env={"PYTHONPATH": str(root)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready: trunk bound\n"
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert "sip" in json.loads((tmp_path / "out/summary.json").read_text())
