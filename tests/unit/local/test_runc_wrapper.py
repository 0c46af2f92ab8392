"""The runtime wrapper takes one capability away and nothing else."""

import json
from pathlib import Path

from okitoki_local.runc_wrapper import MISSING, option, rewrite, without_missing


def test_options_are_found_in_both_spellings() -> None:
    assert option(["create", "--bundle", "/b", "id"], "--bundle") == "/b"
    assert option(["exec", "--process=/p", "id"], "--process") == "/p"
    assert option(["state", "id"], "--bundle") is None


def test_every_capability_set_loses_the_missing_one_only() -> None:
    process = {"args": ["x"], "capabilities": {"bounding": ["CAP_CHOWN", MISSING], "ambient": None}}
    assert without_missing(process) == {"args": ["x"], "capabilities": {"bounding": ["CAP_CHOWN"], "ambient": []}}


def test_a_process_without_capabilities_stays_as_it_is() -> None:
    assert without_missing({"args": ["x"]}) == {"args": ["x"]}


def test_the_bundles_configuration_is_rewritten_on_create(tmp_path: Path) -> None:
    configuration = {"ociVersion": "1.0", "process": {"capabilities": {"permitted": [MISSING]}}}
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    rewrite(["--root", "/r", "create", "--bundle", str(tmp_path), "id"])
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == {"ociVersion": "1.0", "process": {"capabilities": {"permitted": []}}}


def test_the_process_is_rewritten_on_exec(tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    file.write_text(json.dumps({"capabilities": {"effective": [MISSING, "CAP_KILL"]}}))
    rewrite(["exec", "--process", str(file), "id"])
    assert json.loads(file.read_text()) == {"capabilities": {"effective": ["CAP_KILL"]}}
