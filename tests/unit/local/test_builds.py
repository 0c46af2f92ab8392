"""What is built, and under which key."""

import dataclasses
from pathlib import Path

from okitoki_local import bases, gobuild, nodeimage

CACHE = Path("/cache")


def test_a_new_version_gets_a_new_key_and_a_new_tools_folder() -> None:
    kubectl = gobuild.PROGRAMS["kubectl"]
    assert dataclasses.replace(kubectl, version="v1.34.5").key != kubectl.key
    assert gobuild.binary(CACHE, "kubectl").parts[:3] == ("/", "cache", "go")
    assert gobuild.tools_folder(CACHE).parent == CACHE / "tools"


def test_kubernetes_staging_modules_are_replaced_by_their_published_versions() -> None:
    go_mod = {
        "Go": "1.24.0",
        "Godebug": [{"Key": "default", "Value": "go1.24"}],
        "Require": [
            {"Path": "k8s.io/api", "Version": "v0.0.0"},
            {"Path": "k8s.io/utils", "Version": "v0.0.0-20250604170112-4c0f3b243397"},
        ],
    }
    kubelet = dataclasses.replace(gobuild.PROGRAMS["kubelet"], version="v1.34.4")
    text = gobuild.wrapper_module(kubelet, go_mod)
    assert "require k8s.io/kubernetes v1.34.4\n" in text
    assert "replace k8s.io/api => k8s.io/api v0.34.4\n" in text
    assert "k8s.io/utils" not in text
    assert "godebug default=go1.24\n" in text


def test_kubernetes_programs_know_their_version() -> None:
    flags = gobuild.PROGRAMS["kubeadm"].linker_flags
    assert f"-X k8s.io/component-base/version.gitVersion={gobuild.PROGRAMS['kubeadm'].version}" in flags


def test_package_lists_are_words_without_comments() -> None:
    assert bases.parse_packages("# head\nb a # why\n\n a\n") == ["a", "b"]


def test_a_base_depends_on_its_packages_and_suite_and_not_on_their_order() -> None:
    assert bases.base_key(["a", "b"], "trixie") == bases.base_key(["b", "a", "a"], "trixie")
    assert bases.base_key(["a"], "trixie") != bases.base_key(["a"], "bookworm")
    assert bases.base_key(["a"], "trixie") != bases.base_key(["a", "b"], "trixie")


def test_mmdebstrap_gets_security_updates_too() -> None:
    command = bases.mmdebstrap_command(Path("/t.tar"), ["b", "a"], "trixie", Path("/debs"))
    assert "--include=a,b" in command
    assert [word for word in command if word.endswith("trixie-security main")]
    assert [word for word in command if word.endswith("trixie-updates main")]


def test_storage_manifest_is_read_from_kinds_source_with_its_images_filled_in(tmp_path: Path) -> None:
    source = tmp_path / "pkg/build/nodeimage/const_storage.go"
    source.parent.mkdir(parents=True)
    source.write_text(
        'const storageProvisionerImage = "p:1"\nconst storageHelperImage = "h:1"\n'
        "const defaultStorageManifest = `\nimage: ` + storageProvisionerImage + `\n- ` + storageHelperImage + `\n`\n"
    )
    assert nodeimage.default_storage(tmp_path) == ("p:1", "h:1", "\nimage: p:1\n- h:1\n")


def test_containerd_uses_the_pause_image_that_kubeadm_asks_for() -> None:
    changed = nodeimage.containerd_configuration('sandbox_image = "old:1"\n', "new:2")
    assert changed == 'sandbox_image = "new:2"\n'
