"""Cache keys change when, and only when, an input does."""

from pathlib import Path

import pytest

from okitoki_local.keys import key_of, key_of_files


def test_key_is_the_same_for_the_same_inputs_in_any_order_of_fields() -> None:
    assert key_of("x", {"a": 1, "b": [2, 3]}) == key_of("x", {"b": [2, 3], "a": 1})


def test_key_differs_when_any_input_differs() -> None:
    keys = [key_of("x", 1), key_of("x", 2), key_of("y", 1), key_of("x", [1]), key_of("x")]
    assert len(set(keys)) == len(keys)


def test_key_refuses_values_without_a_stable_form() -> None:
    with pytest.raises(TypeError, match="set has no stable form"):
        key_of({1, 2})


def test_key_of_files_sees_contents_and_not_places(tmp_path: Path) -> None:
    one, other = tmp_path / "one" / "file", tmp_path / "other" / "file"
    for file in (one, other):
        file.parent.mkdir()
        file.write_text("same")
    assert key_of_files(one) == key_of_files(other)
    other.write_text("different")
    assert key_of_files(one) != key_of_files(other)
