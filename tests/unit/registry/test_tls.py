"""Certificates that cannot be used are named; nothing asks for a passphrase."""

from __future__ import annotations

import ssl
import subprocess

import pytest

from corten_shared.errors import Unavailable
from cortend.registry.settings import Endpoint
from cortend.registry.tls import Contexts

OWN = Endpoint("https://reg.test/v2")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate with its key in the clear, and the key under a passphrase."""
    folder = tmp_path_factory.mktemp("pair")
    for command in (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -subj /CN=x",
        "ec -in key.pem -aes256 -passout pass:open -out locked.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def test_a_context_is_kept_while_its_files_are_the_same(pair):
    contexts = Contexts()
    endpoint = OWN._replace(ca=(str(pair / "cert.pem"),))
    first = contexts.get(endpoint, "reg.test")
    assert contexts.get(endpoint._replace(url="https://other.test/v2"), "x") is first
    (pair / "cert.pem").write_bytes((pair / "cert.pem").read_bytes() + b"\n")
    assert contexts.get(endpoint, "reg.test") is not first


def test_only_skip_verify_believes_everybody():
    contexts = Contexts()
    assert contexts.get(OWN, "x").verify_mode is ssl.CERT_REQUIRED
    assert contexts.get(OWN, "x").check_hostname
    assert contexts.get(OWN._replace(skip_verify=True), "x").verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (("cert.pem", "locked.pem"), "its key has a passphrase"),
        (("cert.pem", "none.pem"), "No such file or directory"),
        (("cert.pem", ""), "cannot use client certificate"),
        (("key.pem", "key.pem"), "cannot use client certificate"),
    ],
)
def test_a_client_certificate_that_cannot_be_used_is_named(pair, client, said):
    paths = tuple(str(pair / name) if name else "" for name in client)
    with pytest.raises(Unavailable, match=said) as caught:
        Contexts().get(OWN._replace(client=(paths,)), "reg.test")
    assert str(pair) in caught.value.message and "reg.test" in caught.value.message
