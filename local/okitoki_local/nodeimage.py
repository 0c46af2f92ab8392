"""The kind node image, made here out of Debian, kind's own node files and binaries built from source.

kind's files (entrypoint, units, containerd's configuration) are read from the Go module cache, never copied into this
repository, so the node is the one that this version of kind expects.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from okitoki_local import bases, gobuild, oci, system, versions
from okitoki_local.bases import ensure_base, ensure_tarball, image_exists, parse_packages
from okitoki_local.environment import Environment
from okitoki_local.keys import key_of, key_of_files
from okitoki_local.progress import step
from okitoki_local.system import run, wait_until

FILES = Path(__file__).resolve().parent.parent / "node"
PREPARE = FILES / "prepare.sh"
KUBERNETES_IMAGES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
INTO_NODE = ("kubelet", "kubeadm", "kubectl")


def node_packages() -> list[str]:
    return parse_packages((FILES / "packages.txt").read_text())


def network_packages() -> list[str]:
    """For the images of kube-proxy and kube-router, which call iptables, nft, ipset and ip."""
    return parse_packages((FILES / "network-packages.txt").read_text())


def node_key() -> str:
    """The hash of everything that the node image is made from."""
    return key_of(
        "node",
        versions.NODE_RECIPE,
        versions.KIND,
        gobuild.binaries_key(),
        bases.base_key(node_packages(), versions.NODE_SUITE),
        bases.base_key(network_packages(), versions.NODE_SUITE),
        key_of_files(PREPARE),
        system.lacks_sys_resource(),
    )


def node_tag() -> str:
    return f"{versions.NODE_IMAGE}:{versions.KUBERNETES}-{node_key()}"


def ensure_node_image(env: Environment) -> str:
    """Have the node image in the cluster's daemon: there already, from the cache, or made now."""
    tag = node_tag()
    archive = env.cache / "nodes" / f"{node_key()}.tar"
    with system.locked(env.cache / "nodes" / "lock", "making the node image"):
        if image_exists(env, tag):
            return tag
        if archive.exists():
            with step("loading the node image from the cache"):
                env.docker("load", "--input", str(archive))
            return tag
        _make(env, tag)
        with step("keeping the node image in the cache"):
            unfinished = archive.with_suffix(".unfinished")
            env.docker("save", "--output", str(unfinished), tag)
            unfinished.rename(archive)
            for old in archive.parent.glob("*.tar"):
                if old != archive:
                    old.unlink()
    return tag


def _make(env: Environment, tag: str) -> None:
    base = ensure_base(env, "node", node_packages(), versions.NODE_SUITE)
    scratch = env.cache / "tmp" / f"node-{node_key()}"
    shutil.rmtree(scratch, ignore_errors=True)
    tree = scratch / "tree"
    try:
        with step("packing the images of the control plane"):
            tree.mkdir(parents=True)
            oci.write_archive(tree / "images.tar", _system_images(env), scratch / "oci")
        with step("building the node image"):
            _fill_tree(env, tree)
            _commit(env, base, tree, tag)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def kubernetes_tags(env: Environment) -> dict[str, str]:
    """Image name -> the exact tag that kubeadm will ask for."""
    kubeadm = str(gobuild.binary(env.cache, "kubeadm"))
    listed = run([kubeadm, "config", "images", "list", "--kubernetes-version", versions.KUBERNETES]).stdout.split()
    return {tag.rsplit(":", 1)[0].rsplit("/", 1)[-1]: tag for tag in listed}


def _system_images(env: Environment) -> list[oci.Image]:
    tags = kubernetes_tags(env)
    network = ensure_tarball(env.cache, "network", network_packages(), versions.NODE_SUITE)
    provisioner, helper, _ = default_storage(gobuild.module_folder(gobuild.KIND_MODULE, versions.KIND))
    etcd, coredns = gobuild.binary(env.cache, "etcd"), gobuild.binary(env.cache, "coredns")

    def own(name: str, tag: str, base: Path | None = None, entrypoint: tuple[str, ...] = ()) -> oci.Image:
        return oci.Image((tag,), {f"/usr/local/bin/{name}": gobuild.binary(env.cache, name)}, base, entrypoint)

    return [
        *(own(name, tags[name], network if name == "kube-proxy" else None) for name in KUBERNETES_IMAGES),
        oci.Image((tags["etcd"],), {"/usr/local/bin/etcd": etcd}),
        oci.Image((tags["coredns"],), {"/coredns": coredns}, None, ("/coredns",)),
        oci.Image((tags["pause"],), {"/pause": gobuild.binary(env.cache, "pause")}, None, ("/pause",)),
        own("local-path-provisioner", provisioner, None, ("local-path-provisioner",)),
        # The helper needs a shell, mkdir and rm; sharing kube-proxy's layer costs nothing.
        oci.Image((helper,), {}, network),
        own("kube-router", versions.KUBE_ROUTER_IMAGE, network, ("/usr/local/bin/kube-router",)),
    ]


def default_storage(kind_source: Path) -> tuple[str, str, str]:
    """kind's storage provisioner image, its helper image, and the manifest with both filled in."""
    source = (kind_source / "pkg/build/nodeimage/const_storage.go").read_text()
    names = dict(re.findall(r'^const (storage\w+Image) = "([^"]+)"$', source, re.MULTILINE))
    manifest = re.search(r"^const defaultStorageManifest = `(.*)^`$", source, re.MULTILINE | re.DOTALL)
    if manifest is None or {"storageProvisionerImage", "storageHelperImage"} - names.keys():
        raise system.LocalClusterError(f"kind {versions.KIND} keeps its storage manifest elsewhere; see {kind_source}")
    filled = re.sub(r"` \+ (\w+) \+ `", lambda found: names[found.group(1)], manifest.group(1))
    return names["storageProvisionerImage"], names["storageHelperImage"], filled


def _fill_tree(env: Environment, tree: Path) -> None:
    """Lay out what goes over the Debian base."""
    source = gobuild.module_folder(gobuild.KIND_MODULE, versions.KIND)
    shutil.copytree(source / "images/base/files", tree, dirs_exist_ok=True, copy_function=shutil.copyfile)
    for scripts in ("usr/local/bin", "kind/bin"):
        for script in (tree / scripts).iterdir():
            script.chmod(0o755)
    (tree / "kind/manifests").mkdir()
    (tree / "kind/manifests/default-storage.yaml").write_text(default_storage(source)[2])
    (tree / "kind/version").write_text(versions.KUBERNETES)
    for name in INTO_NODE:
        _place(gobuild.binary(env.cache, name), tree / "usr/bin" / name)
    _place(gobuild.binary(env.cache, "crictl"), tree / "usr/local/bin/crictl")
    _place(PREPARE, tree / "prepare.sh")
    containerd = tree / "etc/containerd/config.toml"
    containerd.write_text(containerd_configuration(containerd.read_text(), kubernetes_tags(env)["pause"]))
    for folder in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
        folder.chmod(0o755)  # the module cache is read-only


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)


def containerd_configuration(original: str, pause: str) -> str:
    """kind's configuration with kubeadm's pause image, and without what needs CAP_SYS_RESOURCE where it is missing."""
    changed = re.sub(r'sandbox_image = "[^"]*"', f'sandbox_image = "{pause}"', original)
    if system.lacks_sys_resource():
        changed = changed.replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true")
    return changed


def _commit(env: Environment, base: str, tree: Path, tag: str) -> None:
    """Run a container of the base, let containerd in it import the images, and make that the node image."""
    name = f"okitoki-node-build-{node_key()}"
    env.docker("rm", "--force", name, check=False)
    # systemd stops on SIGRTMIN+3, and `docker commit` keeps a stop signal but cannot set one.
    options = ("--name", name, "--privileged", "--network=none", "--stop-signal=SIGRTMIN+3", "--entrypoint=sleep")
    env.docker("run", "--detach", *options, base, "infinity")
    try:
        env.docker("cp", f"{tree}/.", f"{name}:/")
        env.docker("exec", name, "sh", "/prepare.sh")
        env.docker("exec", "--detach", name, "containerd")
        ready = ["docker", "exec", name, "ctr", "version"]
        wait_until("containerd", lambda: env.run(ready, inside=False, check=False).returncode == 0, timeout=60)
        env.docker("exec", name, "ctr", "--namespace=k8s.io", "images", "import", "--no-unpack", "/images.tar")
        env.docker("exec", name, "sh", "-c", "pkill containerd; rm -rf /images.tar /prepare.sh /run/containerd")
        entrypoint = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'
        changes = [entrypoint, "ENV container=docker"]
        env.docker("commit", *(word for change in changes for word in ("--change", change)), name, tag)
    finally:
        env.docker("rm", "--force", "--volumes", name, check=False)
