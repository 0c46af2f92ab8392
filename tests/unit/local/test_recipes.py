"""An image's tag changes exactly when something that goes into the image changes."""

from pathlib import Path

import pytest

from okitoki_local import recipes
from okitoki_local.system import LocalClusterError

DOCKERFILE = """\
# COPY commented/out /nowhere
ARG BASE=debian:trixie-slim
FROM ${BASE} AS base
COPY images/install images/python/packages.txt /tmp/build/
FROM base AS build
COPY wheels/app/requirements.txt wheels/app/*.whl \\
     /tmp/build/
COPY --chown=1:1 app/callcentre /opt/callcentre
FROM base
COPY --from=build /opt /opt
USER 10001:10001
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "images/app/Dockerfile": DOCKERFILE,
        "images/install": "#!/bin/sh\n",
        "images/python/packages.txt": "python3\n",
        "app/callcentre/__init__.py": "",
        "app/callcentre/api.py": "ANSWER = 42\n",
        "app/other/not_copied.py": "",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "images/install").chmod(0o755)
    return tmp_path


def key(root: Path, base: str = "base:1", requirements: str = "a==1", version: str = "1") -> str:
    return recipes.key(root, recipes.read(root, "app"), base, requirements, version)


def test_the_recipe_is_read_off_the_dockerfile(root: Path) -> None:
    recipe = recipes.read(root, "app")
    assert recipe.sources == ("images/install", "images/python/packages.txt", "app/callcentre")
    assert (recipe.base, recipe.group) == ("python", "app")
    assert recipe.before_packages == "images/python/before-packages"


def test_the_context_holds_what_is_copied_and_no_bytecode(root: Path) -> None:
    cache = root / "app/callcentre/__pycache__"
    cache.mkdir()
    (cache / "api.cpython-313.pyc").write_bytes(b"x")
    assert [str(file) for file in recipes.files_of(root, recipes.read(root, "app"))] == [
        "app/callcentre/__init__.py",
        "app/callcentre/api.py",
        "images/app/Dockerfile",
        "images/install",
        "images/python/packages.txt",
    ]


def test_nothing_changed_gives_the_same_key(root: Path) -> None:
    before = key(root)
    (root / "app/other/not_copied.py").write_text("changed = True\n")
    (root / "app/callcentre/api.py").touch()
    assert key(root) == before


@pytest.mark.parametrize(
    "file", ["images/app/Dockerfile", "images/install", "images/python/packages.txt", "app/callcentre/api.py"]
)
def test_a_changed_file_gives_another_key(root: Path, file: str) -> None:
    before = key(root)
    (root / file).write_text((root / file).read_text() + "# more\n")
    assert key(root) != before


def test_a_new_file_a_moved_file_and_another_mode_give_other_keys(root: Path) -> None:
    seen = {key(root)}
    (root / "app/callcentre/new.py").write_text("")
    seen.add(key(root))
    (root / "app/callcentre/new.py").rename(root / "app/callcentre/moved.py")
    seen.add(key(root))
    (root / "images/install").chmod(0o644)
    seen.add(key(root))
    assert len(seen) == 4


def test_base_packages_and_version_are_part_of_the_key(root: Path) -> None:
    assert len({key(root), key(root, base="base:2"), key(root, requirements="a==2"), key(root, version="2")}) == 4


def test_a_context_copied_from_the_repository_has_its_key(root: Path, tmp_path: Path) -> None:
    recipe = recipes.read(root, "app")
    target = tmp_path / "context"
    recipes.copy_sources(root, recipe, target)
    assert recipes.key(target, recipe, "base:1", "a==1", "1") == key(root)


def test_modes_in_a_context_do_not_depend_on_the_umask(root: Path, tmp_path: Path) -> None:
    (root / "app/callcentre/api.py").chmod(0o600)
    (root / "images/install").chmod(0o700)
    target = tmp_path / "context"
    recipes.copy_sources(root, recipes.read(root, "app"), target)
    modes = {str(path.relative_to(target)): path.stat().st_mode & 0o777 for path in target.rglob("*")}
    assert modes["app/callcentre/api.py"] == 0o644
    assert modes["images/install"] == 0o755
    assert modes["app/callcentre"] == 0o755


def test_wheels_lie_where_the_dockerfile_looks_for_them(root: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "cached"
    wheels.mkdir()
    (wheels / "requirements.txt").write_text("a==1\n")
    (wheels / "a-1.whl").write_bytes(b"zip")
    recipes.copy_wheels(wheels, "app", tmp_path / "context")
    assert (tmp_path / "context/wheels/app/requirements.txt").read_text() == "a==1\n"
    assert (tmp_path / "context/wheels/app/a-1.whl").exists()


def test_an_unknown_image_is_an_error_that_lists_the_known(root: Path) -> None:
    with pytest.raises(LocalClusterError, match=r"no image 'ap'; there are: app"):
        recipes.read(root, "ap")


def test_a_missing_source_names_the_dockerfile(root: Path) -> None:
    (root / "images/install").unlink()
    with pytest.raises(LocalClusterError, match="images/app/Dockerfile copies images/install, which is not there"):
        key(root)


def test_a_dockerfile_without_a_package_list_is_refused(root: Path) -> None:
    (root / "images/app/Dockerfile").write_text("FROM x\nCOPY app/callcentre /opt\n")
    with pytest.raises(LocalClusterError, match=r"must COPY one packages\.txt"):
        recipes.read(root, "app")


def test_only_what_the_daemon_lacks_is_built() -> None:
    wanted = {"app": "okitoki/app:1", "edge": "okitoki/edge:2"}
    assert recipes.changed(wanted, {"okitoki/app:1", "okitoki/edge:1"}) == {"edge": "okitoki/edge:2"}


def test_building_one_image_keeps_the_records_of_the_others() -> None:
    assert recipes.merge_references('{"edge": "okitoki/edge:2"}', {"app": "okitoki/app:1"}) == {
        "app": "okitoki/app:1",
        "edge": "okitoki/edge:2",
    }


@pytest.mark.parametrize("recorded", [None, "", "{half", "[]"])
def test_an_unreadable_record_is_replaced(recorded: str | None) -> None:
    assert recipes.merge_references(recorded, {"app": "okitoki/app:1"}) == {"app": "okitoki/app:1"}
