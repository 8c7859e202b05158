"""Image verifiers in a real daemon: a refusal comes before anything of the image, and can be lifted while it runs."""

from __future__ import annotations

import signal

import pytest

from images import make_image, make_layer
from support_registry import LyingRegistry

pytestmark = pytest.mark.root

IMAGE = make_image([make_layer([("a", b"x" * 1000)], "none")])


def test_a_refused_image_is_not_fetched_and_an_allowed_one_is(make_cortend, tmp_path):
    verifier = tmp_path / "bin" / "policy"
    verifier.parent.mkdir()
    verifier.write_text('#!/bin/sh\ncase "$2" in */good:*) echo ok;; *) echo not on the list; exit 1;; esac\n')
    verifier.chmod(0o755)
    daemon = make_cortend(f'[image_verifier]\nbin_dir = "{verifier.parent}"\n', image=False)
    with LyingRegistry() as registry:
        for name in ("good", "bad"):
            registry.serve_image(IMAGE, name)
        refused = daemon.corten("pull", f"{registry.host}/bad", check=False)
        assert refused.returncode == 1
        blocked = f"image verifier blocked {registry.host}/bad:latest with digest {IMAGE.digest}"
        assert blocked.encode() in refused.stderr
        assert b"verifier policy rejected image (exit code 1): not on the list" in refused.stderr
        assert [request.method for request in registry.requests] == ["HEAD"], "only what it resolved to was asked"
        assert daemon.cortenctl("-n", "default", "images", "pull", f"{registry.host}/bad", check=False).returncode == 1
        assert daemon.cortenctl("-n", "default", "content", "ls", "-q").stdout == b""
        daemon.corten("pull", f"{registry.host}/good")
        daemon.config.write_text(daemon.config.read_text().replace(str(verifier.parent), ""))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        daemon.await_log("configuration read again", "image_verifier.bin_dir")
        daemon.corten("pull", f"{registry.host}/bad")
