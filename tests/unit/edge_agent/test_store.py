from pathlib import Path

import pytest

from okitoki_agents.edge import store


def test_content_is_replaced_whole_with_mode_0600_and_no_rest(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file"
    assert store.write_atomically(file, b"one")
    assert store.write_atomically(file, b"two")
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["file"]


def test_the_same_content_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    store.write_atomically(file, b"one")
    before = file.stat().st_ino
    assert not store.write_atomically(file, b"one")
    assert file.stat().st_ino == before


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    store.write_atomically(file, b"one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write_atomically(file, b"two")
    assert file.read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_broken_document_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("{")
    assert store.read_json(tmp_path / "broken") is None
    assert store.read_json(tmp_path / "absent") is None
    store.write_json(tmp_path / "good", {"a": [1]})
    assert store.read_json(tmp_path / "good") == {"a": [1]}
