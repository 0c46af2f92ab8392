"""Building asks the daemon for what it lacks and records what there is; a step that wants a network fails by itself."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from okitoki_local import bases, builder
from okitoki_local.environment import Environment
from okitoki_local.system import CommandFailed, LocalClusterError

FILES = {
    "pyproject.toml": '[project]\nversion = "1.2.3"\n',
    "images/app/Dockerfile": "ARG BASE=x\nFROM ${BASE}\nCOPY images/app/packages.txt app/code.py /opt/\n",
    "images/app/packages.txt": "python3\n",
    "app/code.py": "A = 1\n",
    "images/phones/Dockerfile": "ARG BASE=x\nFROM ${BASE}\nCOPY images/app/packages.txt /opt/\n",
}


class Daemon(Environment):
    """An environment whose Docker daemon is a list of images and of builds."""

    def docker(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """Answers what `builder` asks."""
        file = self.state / "images"
        known = file.read_text().split() if file.exists() else []
        if arguments[0] == "version":
            return "amd64\n"
        if arguments[:2] == ("image", "ls"):
            return "\n".join(known)
        assert arguments[0] == "build"
        tag = arguments[arguments.index("--tag") + 1]
        context = Path(arguments[-1])
        assert (context / arguments[arguments.index("--file") + 1]).is_file()
        with (self.state / "builds").open("a") as builds:
            builds.write(json.dumps(arguments) + "\n")
        if "BROKEN" in "".join(path.read_text() for path in context.rglob("*.py")):
            raise CommandFailed(["docker", "build"], 1, "it does not compile")
        file.write_text("\n".join([*known, tag]))
        return ""

    def nodes(self) -> list[str]:
        """A cluster of one node."""
        return ["worker"]

    def builds(self) -> list[list[str]]:
        """Arguments of each build so far."""
        file = self.state / "builds"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / "repo" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / name).write_text(text)
    monkeypatch.setattr(builder, "ROOT", tmp_path / "repo")
    return tmp_path / "repo"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []
    monkeypatch.setattr(builder, "load_images", lambda _env, references: calls.append(list(references)))
    monkeypatch.setattr(bases, "ensure_base", lambda _env, name, _packages, before: f"okitoki/base-{name}:{before}")
    return calls


@pytest.fixture
def make(tmp_path: Path, root: Path, loaded: list[list[str]]) -> Callable[[bool], Daemon]:
    def made(private: bool) -> Daemon:
        (tmp_path / "state").mkdir(exist_ok=True)
        return Daemon("test", private, tmp_path / "state", tmp_path / "cache")

    return made


def test_a_second_run_builds_nothing_and_gives_the_same_references(make: Callable[[bool], Daemon]) -> None:
    env = make(True)
    first = builder.build_images(env)
    assert builder.build_images(env) == first
    assert len(env.builds()) == 2


def test_a_change_builds_only_the_images_that_hold_it(make: Callable[[bool], Daemon], root: Path) -> None:
    env = make(True)
    first = builder.build_images(env)
    (root / "app/code.py").write_text("A = 2\n")
    second = builder.build_images(env)
    assert {name for name in first if first[name] != second[name]} == {"app"}
    assert len(env.builds()) == 3


def test_references_are_recorded_and_others_kept(make: Callable[[bool], Daemon]) -> None:
    env = make(True)
    (env.state / "images.json").write_text('{"edge": "okitoki/edge:1"}')
    built = builder.build_images(env, ["app"])
    assert json.loads((env.state / "images.json").read_text()) == {"edge": "okitoki/edge:1", **built}


def test_a_failed_build_records_nothing(make: Callable[[bool], Daemon], root: Path) -> None:
    (root / "app/code.py").write_text("BROKEN\n")
    env = make(True)
    with pytest.raises(CommandFailed, match="it does not compile"):
        builder.build_images(env)
    assert not (env.state / "images.json").exists()


def test_without_a_registry_the_base_is_made_and_steps_have_no_network(make: Callable[[bool], Daemon]) -> None:
    env = make(True)
    builder.build_images(env, ["app"])
    [arguments] = env.builds()
    assert arguments[arguments.index("--network") + 1] == "none"
    assert "BASE=okitoki/base-app:None" in arguments
    assert "VERSION=1.2.3" in arguments


def test_with_a_registry_it_is_a_plain_docker_build(make: Callable[[bool], Daemon]) -> None:
    env = make(False)
    builder.build_images(env, ["app"])
    [arguments] = env.builds()
    assert "--network" not in arguments
    assert "BASE=debian:trixie-slim" in arguments


def test_files_that_must_precede_the_packages_are_given_to_the_base(make: Callable[[bool], Daemon], root: Path) -> None:
    (root / "images/app/before-packages/etc").mkdir(parents=True)
    env = make(True)
    builder.build_images(env, ["app"])
    assert f"BASE=okitoki/base-app:{root}/images/app/before-packages" in env.builds()[0]


def test_phones_stay_outside_the_cluster(make: Callable[[bool], Daemon], loaded: list[list[str]]) -> None:
    built = builder.build_images(make(True))
    assert loaded == [[built["app"]]]


def test_an_unknown_image_is_refused_before_anything_is_built(make: Callable[[bool], Daemon]) -> None:
    env = make(True)
    with pytest.raises(LocalClusterError, match="there is no image 'nope'; there are: app, phones"):
        builder.build_images(env, ["app", "nope"])
    assert env.builds() == []


def test_contexts_for_another_builder_need_no_daemon(root: Path, tmp_path: Path) -> None:
    env = Environment("test", True, tmp_path / "state", tmp_path / "cache")
    assert builder.write_contexts(env, tmp_path / "out", ["app"]) == [tmp_path / "out/app"]
    assert (tmp_path / "out/app/app/code.py").read_text() == "A = 1\n"
    with pytest.raises(LocalClusterError, match="is there already"):
        builder.write_contexts(env, tmp_path / "out", ["app"])
