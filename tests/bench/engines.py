"""The engines, each a private one: started here with roots of its own, and the words its command wants.

An engine's methods give argument lists; `metrics` times them. What an engine has no word for is not in its `can`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from processes import accepts, daemon, run
from sandbox import cgroup

import daemon as cortends

BIN = Path(sys.executable).parent
EVERYTHING = frozenset({"network", "ps", "rm", "build", "archive", "push"})
_numbers = itertools.count(1)


def new_name() -> str:
    """A container name that no engine has seen."""
    return f"bench{next(_numbers)}"


@dataclass
class Engine:
    """One engine that runs: docker's words by default.

    `data` holds its images; `daemons` are the processes that stay when nothing runs (none for podman).
    """

    name: str
    command: list[str]
    data: Path
    daemons: list[int] = field(default_factory=list)
    run_flags: list[str] = field(default_factory=list)
    force: list[str] = field(default_factory=lambda: ["rm", "-f"])
    can: frozenset[str] = EVERYTHING

    def _do(self, *words: str) -> list[str]:
        return [*self.command, *words]

    def version(self) -> list[str]:
        return [self.command[0], "--version"]

    def about(self) -> str:
        """Its version, and the OCI runtime that it took where there is a choice."""
        said = run(self.version()).splitlines()[0]
        if "corten" in self.name:
            said += ", on " + run(self._do("info", "--format", "{{.DefaultRuntime}}")).strip()
        return said

    def ps(self) -> list[str]:
        return self._do("ps", "-a")

    def run(self, ref: str, *argv: str, flags: tuple[str, ...] = (), name: str = "") -> list[str]:
        """A container in the foreground, its name left to the engine unless given."""
        named = ["--name", name] if name else []
        return self._do("run", *named, *flags, *self.run_flags, ref, *argv)

    def run_alone(self, ref: str, *argv: str) -> list[str]:
        """The least container: no network, removed at its end."""
        return self.run(ref, *argv, flags=("--rm", "--network", "none"))

    def start(self, ref: str, name: str, *argv: str, flags: tuple[str, ...] = ()) -> list[str]:
        """A container in the background."""
        return self.run(ref, *argv, flags=("-d", *flags), name=name)

    def exec(self, name: str, *argv: str) -> list[str]:
        return self._do("exec", name, *argv)

    def remove(self, *names: str) -> None:
        """Take running containers away, at once and without being timed."""
        run(self._do(*self.force, *names), check=False)

    def remove_timed(self, name: str) -> list[str]:
        return self._do("rm", "-f", name)

    def identities(self, names: list[str]) -> list[str]:
        """What the helper processes of these containers have in their arguments."""
        return [str(one["Id"]) for one in json.loads(run(self._do("inspect", *names)))]

    def pull(self, ref: str) -> list[str]:
        return self._do("pull", ref)

    def has(self, ref: str) -> bool:
        with contextlib.suppress(Exception):
            return bool(run(self._do("image", "inspect", ref)))
        return False

    def drop(self, ref: str) -> None:
        run(self._do("rmi", "-f", ref), check=False)

    def images(self) -> list[str]:
        return self._do("images")

    def remove_image(self, ref: str) -> list[str]:
        return self._do("rmi", ref)

    def tag(self, ref: str, new: str) -> list[str]:
        return self._do("tag", ref, new)

    def save(self, ref: str, path: Path) -> list[str]:
        return self._do("save", "-o", str(path), ref)

    def load(self, path: Path) -> list[str]:
        return self._do("load", "-i", str(path))

    def push(self, ref: str) -> list[str]:
        return self._do("push", ref)

    def build(self, tag: str, folder: Path) -> list[str]:
        return self._do("build", "-t", tag, str(folder))


@dataclass
class Ctr(Engine):
    """containerd's own client: no networks, no names but ids, and removal in steps."""

    can: frozenset[str] = frozenset()

    def run_alone(self, ref: str, *argv: str) -> list[str]:
        return self._do("run", "--rm", ref, new_name(), *argv)

    def start(self, ref: str, name: str, *argv: str, flags: tuple[str, ...] = ()) -> list[str]:
        return self._do("run", "-d", *flags, ref, name, *argv)

    def exec(self, name: str, *argv: str) -> list[str]:
        return self._do("task", "exec", "--exec-id", new_name(), name, *argv)

    def remove(self, *names: str) -> None:
        for name in names:
            run(self._do("task", "rm", "-f", name), check=False)
            run(self._do("container", "rm", name), check=False)

    def identities(self, names: list[str]) -> list[str]:
        return names

    def pull(self, ref: str) -> list[str]:
        return self._do("images", "pull", "--plain-http", ref)

    def has(self, ref: str) -> bool:
        return ref in run(self._do("images", "ls", "-q")).splitlines()

    def images(self) -> list[str]:
        return self._do("images", "ls")

    def remove_image(self, ref: str) -> list[str]:
        return self._do("images", "rm", ref)

    def drop(self, ref: str) -> None:
        run(self._do("images", "rm", "--sync", ref), check=False)


@contextlib.contextmanager
def corten(base: Path, registry: str, *, name: str = "corten", runtime: str = "") -> Iterator[Engine]:
    """A cortend with every key at its default but the places, and the runtime when one is given."""
    server = cortends.Cortend(base / name)
    server.cgroup = cgroup(base)
    chosen = f'[runtime]\ndefault = "{runtime}"\n' if runtime else "[runtime]\n"
    server.config.write_text(server._config().replace("[runtime]\n", chosen))
    try:
        server.start("--log-level", "info", "--log-format", "json")
        command = [str(BIN / "corten"), "-H", server.host]
        yield Engine(name, command, server.root, [server.pid])
    finally:
        server.destroy()


def corten_on_runc(base: Path, registry: str) -> contextlib.AbstractContextManager[Engine]:
    """A cortend on the runtime that docker and podman have here."""
    return corten(base, registry, name="corten-on-runc", runtime="runc")


@contextlib.contextmanager
def docker_on_corten(base: Path, registry: str) -> Iterator[Engine]:
    """Debian's docker command on a cortend of its own: what of corten's time is the client's?"""
    with corten(base, registry, name="docker-on-corten") as engine:
        engine.command = [_docker(), *engine.command[1:]]
        yield engine


def _docker() -> str:
    """Debian's docker command, not another one that may stand before it on PATH."""
    return "/usr/bin/docker" if Path("/usr/bin/docker").exists() else str(shutil.which("docker"))


@contextlib.contextmanager
def docker(base: Path, registry: str) -> Iterator[Engine]:
    """dockerd with a containerd of its own, as dockerd itself would start it (without the CRI plugin)."""
    home = base / "docker"
    home.mkdir()
    socket, pidfile = home / "docker.sock", home / "docker.pid"
    with ExitStack() as stack:
        address, containerd_pid = stack.enter_context(_containerd(home, disabled='"io.containerd.grpc.v1.cri"'))
        argv = [
            "dockerd", "--data-root", home / "data", "--exec-root", home / "exec", "--pidfile", pidfile,
            "--config-file", _empty_json(home), "-H", f"unix://{socket}", "--containerd", address,
            "--bip", "10.214.1.1/24", "--cgroup-parent", cgroup(base),
        ]  # fmt: skip
        pid = stack.enter_context(
            daemon([str(word) for word in argv], home / "dockerd.log", lambda: pidfile.exists() and accepts(socket))
        )
        yield Engine("docker", [_docker(), "-H", f"unix://{socket}"], home / "data", [pid, containerd_pid])


def _empty_json(home: Path) -> Path:
    path = home / "daemon.json"
    path.write_text("{}")
    return path


@contextlib.contextmanager
def _containerd(home: Path, disabled: str = "") -> Iterator[tuple[Path, int]]:
    """A containerd of its own: its address and process id."""
    address = home / "containerd.sock"
    config = home / "containerd.toml"
    config.write_text(
        f'version = 2\nroot = "{home}/containerd"\nstate = "{home}/containerd-state"\n'
        f"disabled_plugins = [{disabled}]\n"
        f'[grpc]\naddress = "{address}"\n'
        f'[plugins."io.containerd.internal.v1.opt"]\npath = "{home}/opt"\n'
    )
    with daemon(["containerd", "--config", str(config)], home / "containerd.log", lambda: accepts(address)) as pid:
        yield address, pid


@contextlib.contextmanager
def ctr(base: Path, registry: str) -> Iterator[Engine]:
    """containerd with Debian's plugins."""
    home = base / "ctr"
    home.mkdir()
    with _containerd(home) as (address, pid):
        # the namespace is the parent of the control groups, too
        command = ["ctr", "-a", str(address), "-n", cgroup(base).lstrip("/")]
        yield Ctr("ctr", command, home / "containerd", [pid])


@contextlib.contextmanager
def podman(base: Path, registry: str) -> Iterator[Engine]:
    """podman as Debian installs it, but with runc and cgroupfs (crun refuses hybrid control groups)."""
    home = base / "podman"
    home.mkdir()
    (home / "networks").mkdir()
    (home / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\nrunroot = "{home}/run"\ngraphroot = "{home}/data"\n'
    )
    (home / "registries.conf").write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
    (home / "containers.conf").write_text(
        # Limits that need no CAP_SYS_RESOURCE.
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{home}/tmp"\nstatic_dir = "{home}/data/libpod"\nvolume_path = "{home}/data/volumes"\n'
        f'[network]\nnetwork_config_dir = "{home}/networks"\ndefault_subnet = "10.214.3.0/24"\n'
    )
    # Only podman reads these, and `env` before each command would be timed.
    os.environ["CONTAINERS_CONF"] = str(home / "containers.conf")
    os.environ["CONTAINERS_STORAGE_CONF"] = str(home / "storage.conf")
    os.environ["CONTAINERS_REGISTRIES_CONF"] = str(home / "registries.conf")
    engine = Engine("podman", ["podman"], home / "data")
    engine.run_flags = ["--cgroup-parent", cgroup(base)]
    engine.force = ["rm", "-f", "-t", "0"]
    try:
        yield engine
    finally:
        run(engine._do("rm", "-f", "-a", "-t", "0"), check=False)


Start = Callable[[Path, str], contextlib.AbstractContextManager[Engine]]
ENGINES: Mapping[str, Start] = {
    "corten": corten,
    "docker": docker,
    "podman": podman,
    "ctr": ctr,
    "corten-on-runc": corten_on_runc,
    "docker-on-corten": docker_on_corten,
}
