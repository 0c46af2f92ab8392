"""Only what a node lacks is loaded into it."""

import pytest

from okitoki_local.images import missing_by_nodes, normalised


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("app", "docker.io/library/app:latest"),
        ("okitoki/app:local", "docker.io/okitoki/app:local"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
    ],
)
def test_images_are_compared_under_their_full_names(given: str, full: str) -> None:
    assert normalised(given) == full


def test_an_image_goes_only_where_its_id_differs() -> None:
    present = {
        "one": {"docker.io/okitoki/app:local": "sha256:new"},
        "two": {"docker.io/okitoki/app:local": "sha256:old"},
        "three": {},
    }
    assert missing_by_nodes({"okitoki/app:local": "sha256:new"}, present) == {("two", "three"): ["okitoki/app:local"]}


def test_images_that_the_same_nodes_lack_travel_together() -> None:
    wanted = {"a:1": "sha256:a", "b:1": "sha256:b"}
    assert missing_by_nodes(wanted, {"one": {}, "two": {}}) == {("one", "two"): ["a:1", "b:1"]}


def test_nothing_is_loaded_twice() -> None:
    assert missing_by_nodes({"a:1": "sha256:a"}, {"one": {"docker.io/library/a:1": "sha256:a"}}) == {}
