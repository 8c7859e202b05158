"""`inspect`: all that the engine knows of an object, of a given kind or of any."""

from __future__ import annotations

from corten.command import Command
from corten.docker.engine import EngineError, container_path, image_path
from corten.flags import Flag
from corten.output import err, escape_lines, out, sentence
from corten.template_functions import plain_json
from corten.transport import quote
from corten_shared.errors import CortenError, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.docker.session import Session
    from corten.flags import Options

_KINDS: dict[str, Callable[[str], str]] = {
    "container": lambda name: container_path(name, "/json"),
    "image": lambda name: image_path(name, "/json"),
    "network": lambda name: f"/networks/{quote(name)}",
    "volume": lambda name: f"/volumes/{quote(name)}",
}
"""In the order in which a name is looked for."""


def _run(session: Session, options: Options) -> int:
    kind = options["type"]
    if kind and kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise InvalidArgument(f'unknown type: "{kind}"', hint=f"There are: {known}")
    return _inspect(session, options, [kind] if kind else list(_KINDS), size=options["size"])


def _of_kind(kind: str) -> Callable[[Session, Options], int]:
    def run(session: Session, options: Options) -> int:
        return _inspect(session, options, [kind], size=bool(options.get("size")))

    return run


def _inspect(session: Session, options: Options, kinds: list[str], *, size: bool) -> int:
    found: list[Any] = []
    problems: list[str] = []
    for name in options.args:
        try:
            found.append(_find(session, name, kinds, size=size))
        except EngineError as exc:
            problems.append(sentence(exc))
    _show(found, options["format"])
    for problem in problems:
        err(problem)
    return int(bool(problems))


def _find(session: Session, name: str, kinds: list[str], *, size: bool) -> Any:
    """The object called `name`, of the first kind that has one."""
    for kind in kinds:
        query = {"size": 1} if size and kind == "container" else {}
        try:
            return session.engine.call("GET", _KINDS[kind](name), query)
        except EngineError as exc:
            if len(kinds) == 1 or exc.status not in (404, 501):
                raise
    missing = EngineError(404, "")
    missing.message = f"Error: No such object: {name}"
    raise missing


def _show(found: list[Any], form: str) -> None:
    if not form:
        out(plain_json(found, indent=4))
        return
    from corten.templates import Template

    template = Template("{{json .}}" if form == "json" else form)
    failures: list[CortenError] = []
    for value in found:
        try:
            out(escape_lines(template.render(value)))
        except CortenError as exc:
            failures.append(exc)
    if failures:
        raise failures[0]


_FORMAT = Flag("format", "string", "'json', or a Go template", short="f")
_SIZE = Flag("size", "bool", "Display total file sizes if the type is container", short="s")

INSPECT = Command(
    "Show all that is known of objects of any kind",
    _run,
    arguments="NAME|ID [NAME|ID...]",
    flags=[_FORMAT, _SIZE, Flag("type", "string", "Only inspect objects of this type")],
    least=1,
    most=None,
)
CONTAINER_INSPECT = Command(
    "Show all that is known of containers",
    _of_kind("container"),
    arguments="CONTAINER [CONTAINER...]",
    flags=[_FORMAT, _SIZE],
    least=1,
    most=None,
)
IMAGE_INSPECT = Command(
    "Show all that is known of images",
    _of_kind("image"),
    arguments="IMAGE [IMAGE...]",
    flags=[_FORMAT],
    least=1,
    most=None,
)
