"""Archives are well-formed, complete, and the same for the same files."""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from okitoki_local.oci import Image, write_archive


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    program = tmp_path / "program"
    program.write_bytes(b"binary")
    base = tmp_path / "base.tar"
    with tarfile.open(base, "w") as tar:
        tar.add(program, "etc/file")
    images = [
        Image(("registry.test/a:1",), {"/usr/local/bin/program": program}, base),
        Image(("registry.test/b:1",), {"/program": program}, base, ("/program",)),
    ]
    target = tmp_path / "images.tar"
    write_archive(target, images, tmp_path / "scratch")
    return target


def blob(archive: Path, digest: str) -> bytes:
    with tarfile.open(archive) as tar:
        member = tar.extractfile("blobs/" + digest.replace(":", "/"))
        assert member is not None
        return member.read()


def index(archive: Path) -> list[dict[str, Any]]:
    with tarfile.open(archive) as tar:
        member = tar.extractfile("index.json")
        assert member is not None
        found: list[dict[str, Any]] = json.load(member)["manifests"]
        return found


def test_every_blob_has_the_content_that_its_name_says(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        names = [name for name in tar.getnames() if name.startswith("blobs/")]
    assert names
    for name in names:
        digest = "sha256:" + name.rsplit("/", 1)[1]
        assert hashlib.sha256(blob(archive, digest)).hexdigest() == digest.removeprefix("sha256:")


def test_images_carry_their_tags_and_share_their_base(archive: Path) -> None:
    entries = index(archive)
    assert [e["annotations"]["io.containerd.image.name"] for e in entries] == ["registry.test/a:1", "registry.test/b:1"]
    layers = [json.loads(blob(archive, entry["digest"]))["layers"] for entry in entries]
    assert layers[0][0] == layers[1][0]
    assert layers[0][1] != layers[1][1]


def test_programs_are_found_by_their_bare_names(archive: Path) -> None:
    manifest = json.loads(blob(archive, index(archive)[1]["digest"]))
    configuration = json.loads(blob(archive, manifest["config"]["digest"]))
    assert configuration["config"]["Entrypoint"] == ["/program"]
    assert any(setting.startswith("PATH=") for setting in configuration["config"]["Env"])
    assert len(configuration["rootfs"]["diff_ids"]) == 2
