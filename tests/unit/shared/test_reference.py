"""References read as docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten_shared.errors import InvalidArgument
from corten_shared.reference import Reference, is_tag, parse_name, parse_normalized

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x"),
        ("quay.io/a/b", "quay.io/a/b:latest", "quay.io/a/b:latest"),
        ("127.0.0.1:5000/a__b/c-d.e", "127.0.0.1:5000/a__b/c-d.e:latest", "127.0.0.1:5000/a__b/c-d.e:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("Foo/bar", "Foo/bar:latest", "Foo/bar:latest"),
        ("a---b", "docker.io/library/a---b:latest", "a---b:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"docker.io/library/busybox:1@{DIGEST}", f"busybox:1@{DIGEST}"),
    ],
)
def test_a_name_becomes_its_full_form_and_back(text, full, familiar):
    reference = parse_normalized(text)
    assert (str(reference), reference.familiar) == (full, familiar)
    assert parse_normalized(full) == reference
    assert parse_normalized(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        "", ":latest", "busybox:", "a//b", "/a", "a/", "-a", "a..b", "a___b", "_a", "a b", "a\n",
        "busybox:-x", "busybox:" + "x" * 129, "busybox@sha256:abc", f"busybox@sha512:{HEX}",
        f"busybox@sha256:{HEX}00", f"busybox@sha256:{HEX.upper()}", "http://host/x", "host:port/x",
        "ex_ample.com/x", "é", "a" * 2000, "../../etc/passwd",
    ],
)  # fmt: skip
def test_malformed_text_is_refused_in_dockers_words(text):
    with pytest.raises(InvalidArgument, match=r"^invalid reference format$"):
        parse_normalized(text)


def test_capitals_are_named_with_the_library_prefix():
    with pytest.raises(InvalidArgument) as caught:
        parse_normalized("Foo:1")
    assert caught.value.message == "invalid reference format: repository name (library/Foo) must be lowercase"


def test_an_id_is_no_name():
    with pytest.raises(InvalidArgument, match="cannot specify 64-byte hexadecimal strings"):
        parse_normalized(HEX)


def test_a_path_has_at_most_255_characters():
    assert parse_normalized("q.io/" + "a" * 255).path == "a" * 255
    with pytest.raises(InvalidArgument, match="not be more than 255 characters"):
        parse_normalized("q.io/" + "a" * 256)


def test_a_bare_name_stays_bare_when_asked():
    assert parse_name("busybox") == Reference("docker.io", "library/busybox")


def test_the_digest_decides_what_the_registry_is_asked_for():
    assert parse_normalized("busybox:1").object == "1"
    assert parse_normalized(f"busybox:1@{DIGEST}").object == DIGEST


def test_tags_have_a_grammar():
    assert is_tag("v1.0_x-y") and is_tag("x" * 128)
    assert not is_tag("") and not is_tag(".x") and not is_tag("x" * 129) and not is_tag("x\n")


@given(st.text(max_size=60))
def test_whatever_is_accepted_prints_in_a_form_that_means_the_same(text):
    try:
        reference = parse_normalized(text)
    except InvalidArgument:
        return
    assert parse_normalized(str(reference)) == reference
    assert str(reference).isascii() and str(reference).isprintable()
