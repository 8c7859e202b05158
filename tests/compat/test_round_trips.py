"""Images from one engine to another and back, through corten: the digests and every fact of the files stay.

    docker, buildah, podman or skopeo makes an image -> registry -> corten pulls it and pushes it to another repository
    -> docker, podman and skopeo pull that

and the same through archives: what one saves the other loads.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import struct
import tarfile
import urllib.request

import pytest

import peers
from daemon import running
from images import BUSYBOX
from support_registry import run_registry

pytestmark = pytest.mark.root

MAKERS = ("docker", "buildah", "podman", "skopeo")
MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
# cap_net_raw+ep, as VFS_CAP_REVISION_2 has it on disk
XATTR = "SCHILY.xattr."
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
STEPS = (
    "rm -r /tree/gone /tree/dir/inner; mkdir /tree/fresh; echo changed > /tree/changed; "
    "rm -rf /tree/opaque; mkdir /tree/opaque; echo n > /tree/opaque/new"
)


def _entry(name, kind=tarfile.REGTYPE, data=b"", **more):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime, info.size = kind, 0o755 if kind == tarfile.DIRTYPE else 0o644, 1_600_000_000, 0
    for key, value in more.items():
        setattr(info, key, value)
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data


def root_tar():
    """A small root file system with everything that can go wrong on the way."""
    directories = ("bin", "etc", "tmp", "tree", "tree/dir", "tree/dir/inner", "tree/gone", "tree/opaque")
    entries = [_entry(name, tarfile.DIRTYPE) for name in directories]
    entries += [
        _entry("bin/busybox", data=BUSYBOX.read_bytes(), mode=0o755),
        *(_entry(f"bin/{name}", tarfile.SYMTYPE, linkname="busybox") for name in ("sh", "rm", "mkdir", "echo")),
        _entry("tree/sticky", tarfile.DIRTYPE, mode=0o1777, uid=7, gid=8),
        _entry("tree/setuid", data=b"s", mode=0o4755, uid=1234, gid=4321),
        _entry("tree/secret", data=b"p", mode=0o600, mtime=1),
        _entry("tree/empty"),
        _entry("tree/one", data=b"linked" * 100, uid=3),
        _entry("tree/two", tarfile.LNKTYPE, linkname="tree/one"),
        _entry("tree/dir/three", tarfile.LNKTYPE, linkname="tree/one"),
        _entry("tree/link", tarfile.SYMTYPE, linkname="../etc/nowhere"),
        _entry("tree/fifo", tarfile.FIFOTYPE),
        _entry("tree/able", data=b"c", pax_headers={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}),
        _entry("tree/noted", data=b"n", pax_headers={"SCHILY.xattr.user.note": "of the user"}),
        _entry(f"tree/{'long' * 40}/{'name' * 40}", data=b"l"),
        _entry("tree/späce ñame", data=b"u"),
        _entry("tree/changed", data=b"before"),
        _entry("tree/dir/inner/file", data=b"i"),
        _entry("tree/gone/file", data=b"g"),
        _entry("tree/opaque/old", data=b"o"),
    ]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return out.getvalue()


def facts(exported):
    """What an exported container has below /tree: modes, owners, times in seconds, contents, links, attributes."""
    found, groups = {}, {}
    with tarfile.open(fileobj=io.BytesIO(exported), errors="surrogateescape") as tar:
        for info in tar:
            name = info.name.removeprefix("./").rstrip("/")
            if not name.startswith("tree"):
                continue
            if info.islnk():
                groups.setdefault(info.linkname.removeprefix("./"), set()).add(name)
                continue
            data = hashlib.sha256(tar.extractfile(info).read()).hexdigest() if info.isreg() else info.linkname
            attributes = {k.removeprefix(XATTR): v for k, v in info.pax_headers.items() if k.startswith(XATTR)}
            mode = stat.S_IMODE(info.mode)
            found[name] = (info.type, mode, info.uid, info.gid, int(info.mtime), data, attributes)
    for first, others in groups.items():
        everybody = tuple(sorted({first, *others}))
        for name in everybody:
            found[name] = (*found[first], everybody)
    return found


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with run_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def cortend(tmp_path_factory):
    with running() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def docker(tmp_path_factory):
    with peers.docker(tmp_path_factory.mktemp("docker")) as docker:
        yield docker


@pytest.fixture(scope="module")
def podman_and_buildah(tmp_path_factory):
    with peers.podman(tmp_path_factory.mktemp("podman")) as both:
        yield both


@pytest.fixture(scope="module")
def podman(podman_and_buildah):
    return podman_and_buildah[0]


@pytest.fixture(scope="module")
def skopeo():
    return peers.skopeo()


@pytest.fixture(scope="module")
def made(tmp_path_factory, registry, docker, podman_and_buildah, skopeo):
    """Makes the image of one maker, once: its name in the registry."""
    folder = tmp_path_factory.mktemp("context")
    (folder / "root.tar").write_bytes(root_tar())
    (folder / "Dockerfile").write_text(f"FROM scratch\nADD root.tar /\nRUN {STEPS}\nCMD [\"sh\"]\n")
    podman, buildah = podman_and_buildah
    names = {}

    def by_docker(name):
        docker.run("build", "-q", "-t", name, folder)
        docker.run("push", "-q", name)

    def by_podman(name):
        podman.run("build", "--isolation", "chroot", "--format", "docker", "-q", "-t", name, folder)
        podman.run("push", "-q", name)

    def by_buildah(name):
        container = buildah.run("from", "scratch").strip()
        buildah.run("add", "-q", container, folder / "root.tar", "/")
        middle = buildah.run("commit", "-q", container).strip()
        second = buildah.run("from", middle).strip()
        buildah.run("run", second, "--", "sh", "-c", STEPS)
        buildah.run("config", "--cmd", "sh", second)
        buildah.run("commit", "-q", second, name)
        buildah.run("push", "-q", name)
        buildah.run("rm", container, second)

    def by_skopeo(name):
        """Into the other media types, and another compression."""
        plain = "--src-tls-verify=false", "--dest-tls-verify=false"
        zstd = "--dest-compress", "--dest-compress-format", "zstd"
        source = made("docker")
        skopeo.run("copy", "-q", *plain, "--format", "oci", *zstd, f"docker://{source}", f"docker://{name}")

    makers = {"docker": by_docker, "podman": by_podman, "buildah": by_buildah, "skopeo": by_skopeo}

    def made(maker):
        if maker not in names:
            names[maker] = f"{registry.host}/made-by-{maker}:1"
            makers[maker](names[maker])
        return names[maker]

    return made


def manifest(name):
    """The bytes of a manifest in the registry."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFESTS})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return answer.read()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tree_in(engine, name):
    """The facts of the files of an image, from a container that is made and never started."""
    container = engine("create", name).decode().strip().splitlines()[-1]
    try:
        return facts(engine("export", container))
    finally:
        engine("rm", container)


def for_docker(tree):
    """What docker exports of it: no attributes of users."""
    return {
        name: (*fact[:6], {k: v for k, v in fact[6].items() if not k.startswith("user.")}, *fact[7:])
        for name, fact in tree.items()
    }


def by_corten(cortend):
    return lambda *args: cortend.corten(*args).stdout


@pytest.mark.parametrize("maker", MAKERS)
def test_an_image_of_anybody_goes_through_corten_unchanged(
    maker, made, cortend, docker, podman, skopeo, registry, tmp_path
):
    name, again = made(maker), f"{registry.host}/again-by-{maker}:1"
    wanted = manifest(name)
    cortend.corten("pull", "-q", name)
    cortend.corten("tag", name, again)
    cortend.corten("push", "-q", again)
    assert manifest(again) == wanted
    here = tree_in(by_corten(cortend), again)
    _has_everything(here)
    if maker in ("buildah", "podman"):  # docker leaves them out when it makes a layer
        assert here["tree/noted"][6] == {"user.note": "of the user"}
    skopeo.run("copy", "-q", "--src-tls-verify=false", f"docker://{again}", f"dir:{tmp_path / 'dir'}")
    assert (tmp_path / "dir/manifest.json").read_bytes() == wanted
    podman.forget_images()
    podman.run("pull", "-q", again)
    assert podman.run("image", "inspect", "--format", "{{.Digest}}", again).strip() == digest(wanted)
    assert tree_in(podman.bytes, again) == here
    if maker != "skopeo":  # docker 20.10 reads no zstd
        docker.forget_images()
        docker.run("pull", "-q", again)
        digests = json.loads(docker.run("image", "inspect", "--format", "{{json .RepoDigests}}", again))
        assert f"{again.rpartition(':')[0]}@{digest(wanted)}" in digests
        assert tree_in(docker.bytes, again) == for_docker(here)


def _has_everything(tree):
    """That the tree is the one that was made; what equals it elsewhere is then right too."""
    assert {"tree/gone", "tree/dir/inner", "tree/opaque/old"}.isdisjoint(tree)
    assert {"tree/fresh", "tree/opaque/new", "tree/späce ñame"} <= tree.keys()
    assert tree["tree/setuid"][1:5] == (0o4755, 1234, 4321, 1_600_000_000)
    assert tree["tree/sticky"][1:4] == (0o1777, 7, 8)
    assert tree["tree/secret"][4] == 1
    assert tree["tree/one"][-1] == ("tree/dir/three", "tree/one", "tree/two")
    assert tree["tree/link"][5] == "../etc/nowhere"
    assert tree["tree/fifo"][0] == tarfile.FIFOTYPE
    assert "security.capability" in tree["tree/able"][6]


def test_what_corten_saves_others_load(made, cortend, docker, podman, skopeo, tmp_path):
    name = made("docker")
    cortend.corten("pull", "-q", name)
    archive = tmp_path / "corten.tar"
    cortend.corten("save", "-o", str(archive), name)
    config = json.loads(manifest(name))["config"]["digest"]
    here = tree_in(by_corten(cortend), name)
    for peer in (docker, podman):
        peer.forget_images()
        peer.run("load", "-i", archive)
        assert peer.run("image", "inspect", "--format", "{{.Id}}", name).strip().removeprefix("sha256:") == config[7:]
        assert tree_in(peer.bytes, name) == here
    skopeo.run("copy", "-q", f"oci-archive:{archive}", f"dir:{tmp_path / 'oci'}")
    assert (tmp_path / "oci/manifest.json").read_bytes() == manifest(name)
    skopeo.run("copy", "-q", f"docker-archive:{archive}", f"dir:{tmp_path / 'docker'}")
    assert json.loads((tmp_path / "docker/manifest.json").read_bytes())["config"]["digest"] == config


@pytest.mark.parametrize("kind", ["docker", "podman-docker", "podman-oci"])
def test_what_others_save_corten_loads(kind, made, docker, podman, cortend, tmp_path):
    archive = tmp_path / "theirs.tar"
    name = made("docker" if kind == "docker" else "podman")
    peer = docker if kind == "docker" else podman
    peer.run("pull", "-q", name)
    flags = [] if kind == "docker" else ["--format", "docker-archive" if kind == "podman-docker" else "oci-archive"]
    peer.run("save", *flags, "-o", archive, name)
    cortend.corten("rmi", "-f", name, check=False)
    assert name in cortend.corten("load", "-i", str(archive)).stdout.decode()
    found = json.loads(cortend.corten("image", "inspect", name).stdout)[0]
    if kind == "podman-oci":  # podman writes another manifest, and another config: OCI's
        with tarfile.open(archive) as tar:
            index = json.load(tar.extractfile("index.json"))
        assert found["RepoDigests"] == [f"{name.rpartition(':')[0]}@{index['manifests'][0]['digest']}"]
    else:
        assert found["Id"] == json.loads(manifest(name))["config"]["digest"]
    assert tree_in(by_corten(cortend), name) == tree_in(peer.bytes, name)
