"""Which of several builds of an image runs here."""

from __future__ import annotations

import pytest

from corten_shared.errors import InvalidArgument
from corten_shared.models.oci import OCI_MANIFEST, Descriptor, Platform
from cortend.core.platforms import choose, fits, of_machine, parse

AMD64 = Platform(os="linux", architecture="amd64")


def _descriptor(text):
    os, architecture, *variant = text.split("/")
    platform = Platform(os=os, architecture=architecture, variant=variant[0] if variant else None)
    return Descriptor(mediaType=OCI_MANIFEST, digest="sha256:" + "a" * 64, size=1, platform=platform)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "linux/amd64"), ("linux", "linux/amd64"), ("arm64", "linux/arm64"), ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"), ("linux/arm/v7", "linux/arm"), ("linux/arm/6", "linux/arm/v6"),
        ("linux/armel", "linux/arm/v6"), ("Linux/X86_64", "linux/amd64"), ("windows/amd64", "windows/amd64"),
    ],
)  # fmt: skip
def test_what_a_user_writes_becomes_its_one_spelling(text, expected):
    assert str(parse(text, AMD64)) == expected


@pytest.mark.parametrize("text", ["/", "linux/", "a/b/c/d", "linux/am d64", "x" * 65, "linux/\n"])
def test_nonsense_is_refused(text):
    with pytest.raises(InvalidArgument, match="invalid platform"):
        parse(text, AMD64)


@pytest.mark.parametrize(
    ("offered", "wanted", "chosen"),
    [
        (["linux/arm64", "linux/amd64"], "linux/amd64", "linux/amd64"),
        (["linux/arm64/v8"], "linux/arm64", "linux/arm64/v8"),
        (["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm", "linux/arm/v7"),
        (["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", "linux/arm/v6"),
        (["linux/arm/v7"], "linux/arm/v6", None),
        (["linux/amd64/v2", "linux/amd64"], "linux/amd64", "linux/amd64"),
        (["linux/amd64/v3"], "linux/amd64", None),
        (["linux/amd64", "linux/amd64/v3"], "linux/amd64/v3", "linux/amd64/v3"),
        (["windows/amd64"], "linux/amd64", None),
        (["unknown/unknown", "linux/amd64"], "linux/amd64", "linux/amd64"),
        ([], "linux/amd64", None),
    ],
)
def test_the_best_fit_is_chosen(offered, wanted, chosen):
    found = choose([_descriptor(text) for text in offered], parse(wanted, AMD64))
    assert (found and str(found.platform)) == chosen


def test_a_machine_is_a_platform():
    assert str(of_machine("x86_64")) == "linux/amd64"
    assert str(of_machine("armv7l")) == "linux/arm/v7"
    assert fits(_descriptor("linux/arm/v7").platform, of_machine("armv7l"))
