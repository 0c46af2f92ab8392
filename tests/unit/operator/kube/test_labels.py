"""Selectors, as the API takes them and as they are judged here."""

from __future__ import annotations

import pytest

from okitoki.kube.labels import ABSENT, PRESENT, label_selector, matches


def test_a_selector_names_values_presence_and_absence() -> None:
    assert label_selector({"b": "1", "a": PRESENT, "c": ABSENT}) == "a,b=1,!c"
    assert label_selector({}) == ""


@pytest.mark.parametrize(
    ("wanted", "selected"),
    [
        ({"a": "1"}, True),
        ({"a": "2"}, False),
        ({"a": PRESENT}, True),
        ({"b": PRESENT}, False),
        ({"a": ABSENT}, False),
        ({"b": ABSENT}, True),
        ({"a": "1", "b": ABSENT}, True),
        ({}, True),
    ],
)
def test_they_are_judged_alike(wanted: dict[str, str], selected: bool) -> None:
    assert matches({"a": "1"}, wanted) is selected
