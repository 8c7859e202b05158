"""Other engines, for tests: a dockerd, a podman and a buildah of the tests' own, from Debian's packages.

They have their own data and sockets, and no network: no bridge, no firewall rule is made. Registries on the loopback
are all that they reach. `docker.run("push", …)` runs a command that must succeed, and gives what it printed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.processes import accepts, daemon


class Peer:
    """A program with the flags and variables that keep it to its own files."""

    def __init__(self, command: Sequence[str | Path], env: dict[str, str]) -> None:
        self._command = [str(word) for word in command]
        self._env = {**os.environ, **env}

    def run(self, *args: str | Path, input: bytes | None = None) -> str:
        """Run a command to its end."""
        return self.bytes(*args, input=input).decode()

    def bytes(self, *args: str | Path, input: bytes | None = None) -> bytes:
        """As `run`, with the output as it is."""
        argv = [*self._command, *map(str, args)]
        given = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        done = subprocess.run(argv, capture_output=True, timeout=100, env=self._env, **given)
        assert done.returncode == 0, f"{' '.join(argv)} -> {done.returncode}: {done.stderr.decode()[-2000:]}"
        return done.stdout


    def forget_images(self) -> None:
        """Remove every image, so that the next pull fetches all of it."""
        if images := set(self.run("images", "-q").split()):
            self.run("rmi", "-f", *images)


def need(*programs: str) -> None:
    """Skip the test, saying why, where one of these programs is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@contextmanager
def docker(base: Path) -> Iterator[Peer]:
    """dockerd with a containerd of its own; it answers when this yields."""
    need("dockerd", "containerd", "docker")
    address, socket, pidfile = base / "containerd.sock", base / "docker.sock", base / "docker.pid"
    (base / "daemon.json").write_text("{}")
    (base / "containerd.toml").write_text(
        f'version = 2\nroot = "{base}/containerd"\nstate = "{base}/containerd-state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{address}"\n[plugins."io.containerd.internal.v1.opt"]\npath = "{base}/opt"\n'
    )
    argv = [
        "dockerd", "--data-root", base / "data", "--exec-root", base / "exec", "--pidfile", pidfile,
        "--config-file", base / "daemon.json", "-H", f"unix://{socket}", "--containerd", address,
        "--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
        "--cgroup-parent", f"/corten-peers-{os.getpid()}",
    ]  # fmt: skip
    config = base / "docker-config"
    config.mkdir()
    with (
        daemon(["containerd", "--config", str(base / "containerd.toml")], base / "c.log", lambda: accepts(address)),
        daemon([str(word) for word in argv], base / "d.log", lambda: pidfile.exists() and accepts(socket)),
    ):
        yield Peer(["docker", "-H", f"unix://{socket}"], {"DOCKER_CONFIG": str(config), "DOCKER_BUILDKIT": "0"})
    for group in Path("/sys/fs/cgroup").glob(f"*/corten-peers-{os.getpid()}"):
        group.rmdir()


@contextmanager
def podman(base: Path) -> Iterator[tuple[Peer, Peer]]:
    """podman, and buildah on the same storage."""
    need("podman", "buildah")
    (base / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\nrunroot = "{base}/run"\ngraphroot = "{base}/data"\n'
    )
    (base / "registries.conf").write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
    (base / "containers.conf").write_text(
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{base}/tmp"\nstatic_dir = "{base}/data/libpod"\nvolume_path = "{base}/data/volumes"\n'
        f'[network]\nnetwork_config_dir = "{base}/networks"\n'
    )
    env = {
        "CONTAINERS_CONF": str(base / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(base / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(base / "registries.conf"),
        "BUILDAH_ISOLATION": "chroot",
        "HOME": str(base),
        "TMPDIR": str(base),
    }
    yield Peer(["podman"], env), Peer(["buildah"], env)
    Peer(["podman"], env).run("rm", "-af")
    Peer(["podman"], env).run("rmi", "-af")


def skopeo() -> Peer:
    """skopeo, which keeps nothing."""
    need("skopeo")
    return Peer(["skopeo", "--insecure-policy"], {})
