"""What is done with images that are here: images, rmi, tag, history."""

from __future__ import annotations

from corten.command import Command
from corten.docker.attached import each
from corten.docker.engine import image_path
from corten.docker.listing import Listing, encode_filters, filter_flag, format_flag
from corten.docker.native import PLAN, plan
from corten.flags import Flag
from corten.output import ago, ellipsis, escape, human_size, local_time, out, short_id
from corten.rows import Row
from corten_shared.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from corten.docker.session import Session
    from corten.flags import Options

NONE = "<none>"

_HEADERS = {
    "ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT", "Size": "SIZE", "Containers": "CONTAINERS", "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE", "VirtualSize": "SIZE",
}  # fmt: skip
_HISTORY_HEADERS = {
    "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY",
    "Size": "SIZE", "Comment": "COMMENT",
}  # fmt: skip
_CREATED_BY_WIDTH = 45


def image_rows(entry: dict[str, Any], *, truncate: bool, digests: bool) -> Iterator[Row]:
    """A row for every tag of an image of `GET /images/json` (and for every digest, when asked)."""
    for repository, tag, digest in _names(entry, digests=digests):
        yield _image_row(entry, repository, tag, digest, truncate=truncate)


def _names(entry: dict[str, Any], *, digests: bool) -> list[tuple[str, str, str]]:
    """(repository, tag, digest) as docker pairs them."""
    tags = [_split_tag(name) for name in entry.get("RepoTags") or () if name != "<none>:<none>"]
    found = [name.partition("@")[::2] for name in entry.get("RepoDigests") or () if name != "<none>@<none>"]
    of_repository = dict(reversed(found))
    rows = [(repository, tag, of_repository.get(repository, NONE)) for repository, tag in tags]
    tagged = {repository for repository, _ in tags}
    loose = [(repository, NONE, digest) for repository, digest in found if repository not in tagged]
    if loose and not digests:
        loose = loose[:1] if not rows else []
    return [*rows, *loose] or [(NONE, NONE, NONE)]


def _split_tag(name: str) -> tuple[str, str]:
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, NONE)


def _image_row(entry: dict[str, Any], repository: str, tag: str, digest: str, *, truncate: bool) -> Row:
    identifier, created = str(entry.get("Id", "")), float(entry.get("Created") or 0)
    size = human_size(entry.get("Size") or 0)
    shared = entry.get("SharedSize", -1)
    containers = entry.get("Containers", -1)
    return Row(
        {
            "ID": short_id(identifier) if truncate else identifier,
            "Repository": repository,
            "Tag": tag,
            "Digest": digest,
            "CreatedSince": ago(created) if created > 0 else "N/A",
            "CreatedAt": local_time(created),
            "Size": size,
            "VirtualSize": size,
            "Containers": "N/A" if containers == -1 else str(containers),
            "SharedSize": "N/A" if shared == -1 else human_size(shared),
            "UniqueSize": "N/A" if shared == -1 else human_size((entry.get("Size") or 0) - shared),
        }
    )


def _run_images(session: Session, options: Options) -> int:
    form = options["format"] or (session.config.text("imagesFormat") if not options["quiet"] else "")
    filters = [*options["filter"], *(f"reference={name}" for name in options.args)]
    query = {"all": options["all"] or None, "filters": encode_filters(filters)}
    entries = session.engine.call("GET", "/images/json", query) or []
    digests, truncate = options["digests"], not options["no-trunc"]
    rows = (row for entry in entries for row in image_rows(entry, truncate=truncate, digests=digests))
    columns = ["Repository", "Tag", "ID", "CreatedSince", "Size"]
    if digests:
        columns.insert(2, "Digest")
    Listing(columns, _HEADERS).show(rows, form, quiet=options["quiet"])
    return 0


def _run_rmi(session: Session, options: Options) -> int:
    if options["plan"]:
        return plan(session, "images.remove", list(options.args), force=bool(options["force"]))
    query = {
        "force": options["force"] or None,
        "noprune": options["no-prune"] or None,
        "platforms": [platform_json(text) for text in options["platform"]],
    }

    def one(name: str) -> None:
        removed = session.engine.call("DELETE", image_path(name), query) or []
        for entry in removed:
            for word in ("Untagged", "Deleted"):
                if word in entry:
                    out(f"{word}: {escape(entry[word])}")

    return each(options.args, one)


def platform_json(text: str) -> str:
    """`os/arch[/variant]` as the API's JSON; raises InvalidArgument."""
    import json

    parts = text.split("/")
    if not 2 <= len(parts) <= 3:
        raise InvalidArgument(f"invalid platform {text!r}", hint="Write it as os/arch[/variant]")
    return json.dumps(dict(zip(("os", "architecture", "variant"), parts, strict=False)))


def _run_tag(session: Session, options: Options) -> int:
    from corten_shared.reference import parse_normalized

    source, target = options.args
    try:
        full = parse_normalized(target)
    except InvalidArgument as exc:
        raise InvalidArgument(
            f'Error parsing reference: "{target}" is not a valid repository/tag: {exc.message}'
        ) from None
    if full.digest:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    session.engine.call("POST", image_path(source, "/tag"), {"repo": full.name, "tag": full.tag})
    return 0


def _run_history(session: Session, options: Options) -> int:
    query = {"platform": platform_json(options["platform"]) if options["platform"] else None}
    layers = session.engine.call("GET", image_path(options.args[0], "/history"), query) or []
    truncate, human = not options["no-trunc"], options["human"]
    rows = (_history_row(layer, truncate=truncate, human=human) for layer in layers)
    columns = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
    Listing(columns, _HISTORY_HEADERS).show(rows, options["format"], quiet=options["quiet"])
    return 0


def _history_row(layer: dict[str, Any], *, truncate: bool, human: bool) -> Row:
    identifier, created = str(layer.get("Id", "")), float(layer.get("Created") or 0)
    command = str(layer.get("CreatedBy", "")).replace("\t", " ")
    size = layer.get("Size") or 0
    when = local_time(created)
    return Row(
        {
            "ID": short_id(identifier) if truncate else identifier,
            "CreatedSince": ago(created) if human else when,
            "CreatedAt": when,
            "CreatedBy": ellipsis(command, _CREATED_BY_WIDTH) if truncate else command,
            "Size": human_size(size) if human else str(size),
            "Comment": str(layer.get("Comment", "")),
        }
    )


IMAGES = Command(
    "List images",
    _run_images,
    arguments="[REPOSITORY[:TAG]]",
    flags=[
        Flag("all", "bool", "Show all images (default hides intermediate images)", short="a"),
        Flag("digests", "bool", "Show digests"),
        filter_flag(),
        format_flag(),
        Flag("no-trunc", "bool", "Don't truncate output"),
        Flag("quiet", "bool", "Only show image IDs", short="q"),
    ],
    most=1,
)
RMI = Command(
    "Remove one or more images",
    _run_rmi,
    arguments="IMAGE [IMAGE...]",
    flags=[
        Flag("force", "bool", "Force removal of the image", short="f"),
        Flag("no-prune", "bool", "Do not delete untagged parents"),
        PLAN,
        Flag("platform", "strings", "Remove only this platform's variant (os/arch[/variant])"),
    ],
    least=1,
    most=None,
)
TAG = Command(
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    _run_tag, arguments="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", least=2, most=2,
)  # fmt: skip
HISTORY = Command(
    "Show the history of an image",
    _run_history,
    arguments="IMAGE",
    flags=[
        format_flag(),
        Flag("human", "bool", "Print sizes and dates in human readable format", short="H", default=True),
        Flag("no-trunc", "bool", "Don't truncate output"),
        Flag("platform", "string", "Show the history of this platform's variant (os/arch[/variant])"),
        Flag("quiet", "bool", "Only show image IDs", short="q"),
    ],
    least=1,
    most=1,
)
