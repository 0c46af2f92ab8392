"""What a run leaves behind."""

from __future__ import annotations

from pathlib import Path

from okitoki_local.demo.stage import forget_secrets


def test_what_the_clients_were_given_goes_and_what_they_found_stays(tmp_path: Path) -> None:
    for name in ("writer-acme/config.json", "writer-acme/ledger.jsonl", "agents/secrets.json", "report.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    forget_secrets(tmp_path)
    kept = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert kept == ["report.json", "writer-acme/ledger.jsonl"]
