"""Image references: what a user types, and the full name behind it.

    reference = name [":" tag] ["@" digest]        busybox, quay.io/a/b:1, [::1]:5000/x@sha256:…
    name      = [domain "/"] path

Grammar, defaults and error texts are those of docker's `distribution/reference`: a first component without
`.`, `:` or capitals other than `localhost` is no domain; the domain is then docker.io, and a path of one
component is in `library/`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from corten_shared.errors import InvalidArgument

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
MAX_PATH = 255
"""Longest repository path (distribution/reference, RepositoryNameTotalLengthMax)."""
MAX_REFERENCE = 1024
"""Longest text looked at: domain, path, tag and digest at their longest fit in."""

_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)
_TAG_ONLY = re.compile(_TAG, re.ASCII)
_DOMAIN_ONLY = re.compile(_DOMAIN, re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")


class Reference(NamedTuple):
    """A parsed reference; `tag` and `digest` are empty when absent (both only from `parse_name`)."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Domain and path: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as docker prints it: `busybox`, `quay.io/a/b`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in short else short

    @property
    def familiar(self) -> str:
        """The whole reference as docker prints it: `busybox:latest`, `busybox@sha256:…`."""
        return self.familiar_name + self._suffix()

    @property
    def object(self) -> str:
        """What is asked of the registry: the digest when there is one, the tag otherwise."""
        return self.digest or self.tag

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


def parse_normalized(text: str) -> Reference:
    """The full reference that a user's `text` stands for; without tag and digest it gets the tag `latest`.

    Raises InvalidArgument in docker's words.
    """
    reference = parse_name(text)
    return reference if reference.tag or reference.digest else reference._replace(tag=DEFAULT_TAG)


def parse_name(text: str) -> Reference:
    """As parse_normalized, without a default tag: a bare name stays bare."""
    if _IDENTIFIER.fullmatch(text):
        raise InvalidArgument(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings", subject=text
        )
    if len(text) > MAX_REFERENCE:
        raise _malformed(text)
    domain, remainder = _split_domain(text)
    repository = remainder.partition(":")[0]
    if repository.isprintable() and repository.lower() != repository:
        raise InvalidArgument(
            f"invalid reference format: repository name ({repository}) must be lowercase", subject=text
        )
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise _malformed(text)
    if len(match["path"]) > MAX_PATH:
        raise InvalidArgument(f"repository name must not be more than {MAX_PATH} characters")
    if match["digest"] and not _SHA256.fullmatch(match["digest"]):
        raise _malformed(text, hint="a digest is 'sha256:' and 64 lower-case hex digits")
    return Reference(match["domain"], match["path"], match["tag"] or "", match["digest"] or "")


def is_tag(text: str) -> bool:
    """Whether `text` may be a tag."""
    return _TAG_ONLY.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """Whether `text` may be a registry's host, maybe with a port."""
    return len(text) <= MAX_PATH and _DOMAIN_ONLY.fullmatch(text) is not None


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    bare = not any(c in first for c in ".:") and first != "localhost" and first.lower() == first
    domain, remainder = (DEFAULT_DOMAIN, text) if not slash or bare else (first, rest)
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder


def _malformed(text: str, hint: str = "") -> InvalidArgument:
    hint = hint or "write it as [HOST/]NAME[:TAG] or [HOST/]NAME@sha256:DIGEST"
    return InvalidArgument("invalid reference format", subject=text[:200], hint=hint)
