"""Which address a registry's name stands for."""

from __future__ import annotations

import pytest

from cortend.registry.settings import RegistryHost, RegistrySettings


@pytest.mark.parametrize(
    ("domain", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("quay.io", "https://quay.io"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("127.9.9.9", "http://127.9.9.9"),
        ("localhost:5000", "http://localhost:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("localhost.example.com", "https://localhost.example.com"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
    ],
)
def test_only_loopback_is_spoken_to_in_plain_http_by_default(domain, url):
    assert RegistrySettings().endpoint(domain).url == f"{url}/v2"


def test_the_configuration_decides_for_a_host_it_names():
    settings = RegistrySettings(hosts={"10.0.0.1:5000": RegistryHost(plain_http=True), "localhost": RegistryHost()})
    assert settings.endpoint("10.0.0.1:5000").url == "http://10.0.0.1:5000/v2"
    assert settings.endpoint("localhost").url == "https://localhost/v2"
