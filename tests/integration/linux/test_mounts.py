"""Real mounts, and giving up privileges for good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corten_shared.models.snapshot import Mount
from cortend.linux import mount as m
from cortend.linux.mountinfo import mounts_below

pytestmark = pytest.mark.root


def bind(source: Path, *options: str) -> Mount:
    return Mount(type="bind", source=str(source), options=list(options))


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "source" / "file").touch()
    return tmp_path / "source", tmp_path / "target"


def test_a_read_only_bind_is_read_only(places: tuple[Path, Path]) -> None:
    source, target = places
    with m.mounted([bind(source, "rbind", "ro", "nosuid")], target):
        [entry] = mounts_below(target)
        assert {"ro", "nosuid"} <= set(entry.options)
        with pytest.raises(OSError, match="Read-only"):
            (target / "new").touch()
    (source / "new").touch()
    assert list(mounts_below(target)) == []


def test_all_or_none(places: tuple[Path, Path]) -> None:
    source, target = places
    with pytest.raises(FileNotFoundError, match="missing"):
        m.mount_all([bind(source), bind(source / "missing")], target)
    assert list(mounts_below(target)) == []


def test_whatever_is_stacked_comes_off(places: tuple[Path, Path]) -> None:
    source, target = places
    m.mount_all([bind(source), bind(source), bind(source)], target)
    with open(target / "file"):
        assert m.unmount_all(target) == 3
    assert m.unmount_all(target) == 0
    assert m.unmount_all(target / "missing") == 0


@pytest.mark.parametrize("count", [2, 200])
def test_an_overlay_of_any_number_of_layers(tmp_path: Path, count: int) -> None:
    """200 of these do not fit in the page that mount(2) takes."""
    layers = [tmp_path / "a-directory-with-a-rather-long-name-to-fill-the-page" / str(n) for n in range(count)]
    for layer in layers:
        layer.mkdir(parents=True)
        (layer / layer.name).touch()
    (layers[0] / "same").write_text("top")
    (layers[1] / "same").write_text("below")
    target = tmp_path / "target"
    target.mkdir()
    entry = Mount(type="overlay", source="overlay", options=["ro", f"lowerdir={':'.join(map(str, layers))}"])
    with m.mounted([entry], target):
        assert len(os.listdir(target)) == count + 1
        assert (target / "same").read_text() == "top"


def test_layers_get_short_names_on_old_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.5 there is no `lowerdir+`."""

    def unknown(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(m, "fsconfig", unknown)
    layers = [tmp_path / "a-directory-with-a-rather-long-name-to-fill-the-page" / str(n) / "fs" for n in range(300)]
    for layer in layers:
        layer.mkdir(parents=True)
        (layer / layer.parent.name).touch()
    (tmp_path / "target").mkdir()
    entry = Mount(type="overlay", source="overlay", options=["ro", f"lowerdir={':'.join(map(str, layers))}"])
    before = Path.cwd()
    with m.mounted([entry], tmp_path / "target"):
        assert len(os.listdir(tmp_path / "target")) == 300
    assert Path.cwd() == before


CONFINED = """
import os, sys
from cortend.diff.limits import Limits
from cortend.diff.unpack import confine
from cortend.linux.mount import MS_BIND, mount
sys.path.append("/")
confine(sys.argv[1], False, Limits())
status = {}
for name in ("/proc", "/etc", "/work", "/tmp"):
    status[name] = os.path.exists(name)
def denied(call):
    try:
        call()
    except (OSError, ImportError, ModuleNotFoundError) as error:
        return type(error).__name__
    return "allowed"
print(sorted(os.listdir("/")), sorted(os.listdir("/../..")), status["/proc"], status["/etc"])
print(denied(lambda: os.chroot("/")), denied(lambda: os.setuid(1)), denied(lambda: mount('/', '/', None, MS_BIND)))
print(denied(lambda: __import__("evil")), denied(lambda: __import__("socket")))
"""


def test_the_unpack_child_is_confined(tmp_path: Path) -> None:
    (tmp_path / "only").touch()
    (tmp_path / "evil.py").write_text("print('loaded from the image')")
    # An image's own /evil.py: the import system is emptied, so no such file is ever looked for.
    done = subprocess.run([sys.executable, "-c", CONFINED, str(tmp_path)], capture_output=True, text=True, check=True)
    listing, calls, imports = done.stdout.splitlines()
    assert listing == "['evil.py', 'only'] ['evil.py', 'only'] False False"
    assert calls == "PermissionError PermissionError PermissionError"
    assert imports == "ModuleNotFoundError ModuleNotFoundError"
