"""Image verifiers: what they are given, and what their answers and failures mean."""

from __future__ import annotations

import asyncio
import json

import pytest

from corten_shared.errors import PermissionDenied, Unavailable
from corten_shared.models import oci
from corten_shared.models.oci import Descriptor
from cortend.linux.process import is_alive
from cortend.runtime.verifier import MEDIA_TYPE, DirectoryVerifier, VerifierSettings
from cortend.workers import ThreadWorkers
from daemon import eventually

NAME = "docker.io/library/busybox:latest"
TARGET = Descriptor(mediaType=oci.OCI_MANIFEST, digest="sha256:" + "a" * 64, size=1234)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


@pytest.fixture
def add(folder):
    def add(name, text, mode=0o755):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(mode)

    return add


def _verify(folder, most=10, timeout=20.0):
    async def run():
        workers = ThreadWorkers()
        try:
            settings = VerifierSettings(str(folder) if folder else "", most, timeout)
            await DirectoryVerifier(settings, workers).verify(NAME, TARGET)
        finally:
            workers.close()

    asyncio.run(run())


def test_nothing_to_ask_allows(folder):
    _verify("")
    _verify(folder)
    _verify(folder / "none")


def test_a_verifier_gets_name_digest_and_descriptor(folder, add, tmp_path):
    add("v", f'echo "$@" > {tmp_path}/args; cat > {tmp_path}/stdin; env > {tmp_path}/env')
    _verify(folder)
    args = f"-name {NAME} -digest {TARGET.digest} -stdin-media-type {MEDIA_TYPE}\n"
    assert (tmp_path / "args").read_text() == args
    given = json.loads((tmp_path / "stdin").read_text())
    assert given == {"mediaType": oci.OCI_MANIFEST, "digest": TARGET.digest, "size": 1234}
    assert "NOTIFY_SOCKET" not in (tmp_path / "env").read_text()


def test_all_must_allow_and_the_reason_of_the_one_that_does_not_is_told(folder, add):
    add("a", "echo fine")
    add("b", "echo ' unsigned by anybody '; echo noise >&2; exit 3")
    with pytest.raises(PermissionDenied) as caught:
        _verify(folder)
    assert caught.value.message == (
        f"image verifier blocked {NAME} with digest {TARGET.digest}: verifier b rejected image (exit code 3): "
        "unsigned by anybody"
    )


def test_only_the_first_are_called_by_name(folder, add):
    add("b", "exit 1")
    add("a", "exit 0")
    _verify(folder, most=1)
    _verify(folder, most=0)
    for most in (2, -1):
        with pytest.raises(PermissionDenied):
            _verify(folder, most=most)


def test_a_link_is_followed(folder, add, tmp_path):
    add("real", "exit 1")
    (folder / "real").rename(tmp_path / "real")
    (folder / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionDenied, match="verifier link rejected"):
        _verify(folder)


@pytest.mark.parametrize("kind", ["not executable", "directory", "dangling", "no program"])
def test_what_cannot_be_executed_refuses(folder, add, kind):
    if kind == "not executable":
        add("v", "exit 0", mode=0o644)
    elif kind == "directory":
        (folder / "v").mkdir()
    elif kind == "dangling":
        (folder / "v").symlink_to("/nowhere")
    else:
        (folder / "v").write_bytes(b"\x00\x01")
        (folder / "v").chmod(0o755)
    with pytest.raises(Unavailable, match=r"image verifier blocked .* verifier v gave no judgement: cannot run"):
        _verify(folder)


def test_a_verifier_that_dies_or_never_ends_refuses(folder, add):
    add("v", "kill -9 $$")
    with pytest.raises(Unavailable, match="ended by signal 9"):
        _verify(folder)
    add("v", "exec sleep 60")
    with pytest.raises(Unavailable, match="did not end within"):
        _verify(folder, timeout=0.2)


def test_what_a_verifier_leaves_behind_does_not_outlive_it(folder, add, tmp_path):
    add("v", f"sleep 60 & echo $! > {tmp_path}/pid; exit 0")
    with pytest.raises(Unavailable, match="did not end within"):
        _verify(folder, timeout=1.0)
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not is_alive(pid), "the end of what was left behind")


def test_output_is_bounded_and_cannot_move_a_terminal(folder, add):
    add("v", "printf '\\033]0;owned\\007'; head -c 10000000 /dev/zero | tr '\\0' x; exit 1")
    with pytest.raises(PermissionDenied) as caught:
        _verify(folder)
    assert caught.value.message.isprintable() and len(caught.value.message) < 1400
    assert caught.value.message.endswith("(stdout truncated)")


def test_input_need_not_be_read(folder, add):
    add("v", "exec <&-; exit 0")
    _verify(folder)


def test_a_directory_that_cannot_be_listed_refuses(folder):
    (folder / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot list the image verifiers"):
        _verify(folder / "file")
