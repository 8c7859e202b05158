"""Runtimes' errors as ours, in docker's words."""

from __future__ import annotations

import pytest

from corten_shared.errors import Conflict, CortenError, Internal, InvalidArgument, NotFound
from cortend.runtime.oci import failure, last_error


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"level":"warning","msg":"w"}\n{"level":"error","msg":"the \\"cause\\"","time":"x"}\n', 'the "cause"'),
        ('time="x" level=error msg="a \\"b\\" c"\n', 'a "b" c'),
        ("plain words\n\n", "plain words"),
        ('{"msg": "crun has no level"}\nnoise\n', "crun has no level"),
        ('{"level":"error","msg":"first"}\n{broken\n', "first"),
        ("", ""),
    ],
)
def test_the_sentence_is_found_in_every_format(text: str, sentence: str) -> None:
    assert last_error(text) == sentence


@pytest.mark.parametrize(
    ("sentence", "words", "kind"),
    [
        ('exec: "foo": executable file not found in $PATH', "executable file not found in $PATH", InvalidArgument),
        (
            "executable file `foo` not found in $PATH: No such file or directory",
            'exec: "foo": executable file not found in $PATH', InvalidArgument,
        ),
        (
            "executable file `/foo` not found: No such file or directory",
            'exec: "/foo": stat /foo: no such file or directory', InvalidArgument,
        ),
        ("open executable: Permission denied", "permission denied", InvalidArgument),
        ('exec: "/x": permission denied', "permission denied", InvalidArgument),
        ("exec: Operation not permitted", "exec: permission denied", InvalidArgument),
        ("container does not exist", "container does not exist", NotFound),
        ("container not running", "container not running", Conflict),
        ("unable to apply cgroup configuration", "unable to apply cgroup configuration", Internal),
        ("", "runc gave no reason", Internal),
    ],
)  # fmt: skip
def test_errors_keep_the_sentence_in_docker_s_words(sentence: str, words: str, kind: type[CortenError]) -> None:
    error = failure("create", "runc", sentence)
    assert error.message.startswith("OCI runtime create failed: ")
    assert words in error.message
    assert type(error) is kind
