"""A node is sent the layers it lacks, in an archive that names all of them."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from okitoki_local import layers
from okitoki_local.system import LocalClusterError

CONFIGURATION = b'{"rootfs": {}}'


def docker_archive(parts: dict[str, bytes], links: dict[str, str], images: int = 1) -> io.BytesIO:
    """What `docker save` writes (Docker Image Specification v1.2)."""
    stream = io.BytesIO()
    manifest = {"Config": "abc.json", "Layers": ["one/layer.tar", "two/layer.tar", "three/layer.tar"]}
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for name, data in {**parts, "manifest.json": json.dumps([manifest] * images).encode()}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    stream.seek(0)
    return stream


PARTS = {"one/layer.tar": b"base", "three/layer.tar": b"sources", "abc.json": CONFIGURATION}
LINKS = {"two/layer.tar": "../one/layer.tar"}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def saved(tmp_path: Path) -> layers.Saved:
    return layers.unpack(docker_archive(PARTS, LINKS), "docker.io/okitoki/app:1", tmp_path)


def test_layers_are_named_by_their_digest_and_a_repeated_one_is_found(saved: layers.Saved) -> None:
    assert [layer.name for layer in saved.layers] == [digest(b"base"), digest(b"base"), digest(b"sources")]
    assert saved.layers[2].read_bytes() == b"sources"
    assert saved.configuration == CONFIGURATION


def test_an_archive_of_two_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match="2 images instead of one"):
        layers.unpack(docker_archive(PARTS, LINKS, images=2), "x", tmp_path)


def members(saved: layers.Saved, sent: list[Path]) -> dict[str, bytes]:
    stream = io.BytesIO()
    layers.write_archive(stream, [saved], sent)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        contents = {member.name: archive.extractfile(member) for member in archive}
        return {name: content.read() for name, content in contents.items() if content is not None}


def test_only_the_missing_layers_are_sent_and_all_are_named(saved: layers.Saved) -> None:
    found = members(saved, [saved.layers[2]])
    assert f"blobs/sha256/{digest(b'sources')}" in found
    assert f"blobs/sha256/{digest(b'base')}" not in found
    [entry] = json.loads(found["index.json"])["manifests"]
    manifest = json.loads(found[f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}"])
    assert [layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]] == [p.name for p in saved.layers]
    assert [layer["size"] for layer in manifest["layers"]] == [4, 4, 7]


def test_the_image_keeps_its_id_and_its_full_name(saved: layers.Saved) -> None:
    found = members(saved, [])
    [entry] = json.loads(found["index.json"])["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": "docker.io/okitoki/app:1"}
    # The ID that Docker and crictl show is the configuration's digest.
    assert found[f"blobs/sha256/{digest(CONFIGURATION)}"] == CONFIGURATION
