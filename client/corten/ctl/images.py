"""`cortenctl images`."""

from __future__ import annotations

import sys

from corten.ctl.command import ALL, PLAN, QUIET, Command, filters, labels, listing
from corten.ctl.image_archives import COMMANDS as ARCHIVES
from corten.ctl.image_checks import COMMANDS as CHECKS
from corten.ctl.image_mounts import COMMANDS as MOUNTS
from corten.ctl.push import PUSH
from corten.ctl.registry import REGISTRY_FLAGS, with_login
from corten.ctl.session import Session, moment, segment
from corten.flags import Flag
from corten.output import human_size, out
from corten.progress import board
from corten_shared.errors import DataLoss

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from corten.flags import Options
    from corten.progress import Bars, Lines

PULL_FLAGS = [
    Flag("platform", "list", "Platform (os/arch[/variant]; default: the daemon's); the first one is unpacked"),
    Flag("all-platforms", "bool", "Fetch the content of all platforms"),
    Flag("all-metadata", "bool", "Fetch indexes, manifests and configs of all platforms"),
    Flag("no-unpack", "bool", "Fetch only, also what is no container image"),
    Flag("snapshotter", "string", "Snapshotter to unpack with (default: the daemon's)"),
    Flag("label", "list", "Label of the image's name (KEY=VALUE)"),
    Flag("max-concurrent-downloads", "int", "Bound on this pull's downloads (0: the daemon's)", default=0),
    Flag("print-chainid", "bool", "Print the chain id of the image's top layer"),
    *REGISTRY_FLAGS,
    QUIET,
]


def _ls(session: Session, options: Options) -> int:
    columns = {
        "REF": lambda i: i["name"],
        "TYPE": lambda i: i["target"]["mediaType"],
        "DIGEST": lambda i: i["target"]["digest"],
        "SIZE": lambda i: human_size(i["target"]["size"]),
        "UPDATED": lambda i: moment(i["updated_at"]),
    }
    return session.show(session.items("/images", filter=filters(options)), columns)


def _info(session: Session, options: Options) -> int:
    return session.dump(session.call("GET", f"/images/{segment(options.args[0])}"))


def _pull(session: Session, options: Options) -> int:
    body = with_login(
        options,
        {
            "reference": options.args[0],
            "platforms": options["platform"],
            "all_platforms": options["all-platforms"],
            "all_metadata": options["all-metadata"],
            "unpack": not options["no-unpack"],
            "snapshotter": options["snapshotter"],
            "labels": {key: value or "" for key, value in labels(options["label"]).items()},
            "max_concurrent_downloads": options["max-concurrent-downloads"],
        },
    )
    progress = session.lines("POST", "/images/pull", body)
    if session.quiet or session.json:
        image = _last(progress)
    else:
        with board(sys.stdout) as display:
            image = _last(_shown(progress, display))
    if session.json:
        return session.dump(image)
    if session.quiet:
        session.tell(image["name"])
    if options["print-chainid"]:
        out(f"image chain ID: {_chain_id(session, image['name'])}")
    return 0


def _chain_id(session: Session, name: str) -> str:
    from corten_shared.digest import chain_ids

    found = session.call("GET", f"/images/{segment(name)}")
    return chain_ids(found["config"]["rootfs"]["diff_ids"])[-1]


def _last(progress: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The image that the last line names."""
    image = None
    for line in progress:
        image = line.get("image") or image
    if image is None:
        raise DataLoss("the pull ended before it was done", hint="See cortend's log, and try again")
    return dict(image)


def _shown(progress: Iterable[dict[str, Any]], display: Bars | Lines) -> Iterable[dict[str, Any]]:
    for line in progress:
        status, part = line["status"], line.get("id")
        if part is None or status.startswith("Pulling from"):
            display.message(f"{part}: {status}" if part else status)
        else:
            display.update(part, status, line.get("current") or 0, line.get("total") or 0)
        yield line


def _tag(session: Session, options: Options) -> int:
    source, *targets = options.args
    return session.each(
        targets, lambda target: session.call("POST", "/images/tag", {"source": source, "target": target})
    )


def _label(session: Session, options: Options) -> int:
    name, *words = options.args
    body = {"labels": labels(words), "replace": bool(options["replace-all"])}
    return session.dump(session.call("PATCH", f"/images/{segment(name)}", body))


def _rm(session: Session, options: Options) -> int:
    if options["plan"]:
        return session.plan("images.remove", options.args, force=bool(options["force"]))
    force = str(bool(options["force"])).lower()

    def remove(name: str) -> None:
        for line in session.call("DELETE", f"/images/{segment(name)}", force=force)["items"]:
            if not session.quiet and not session.json:
                out(f"{line['action']}: {line['subject']}")

    code = session.each(options.args, remove)
    if options["sync"]:
        session.call("POST", "/gc")
    return code


COMMANDS = {
    "ls": listing("List images", _ls, ALL, examples=["cortenctl images ls 'name~=busybox' -q"]),
    "info": Command("Show one with its configuration", _info, arguments="REF", least=1, most=1),
    "label": Command(
        "Set or remove labels", _label, arguments="REF LABEL[=VALUE]...", least=1, most=None,
        flags=[Flag("replace-all", "bool", "Remove every other label", short="r")],
        examples=["cortenctl images label docker.io/library/busybox:latest team=web old="],
    ),
    "pull": Command("Pull an image", _pull, arguments="REF", flags=PULL_FLAGS, least=1, most=1),
    "push": PUSH,
    "tag": Command(
        "Give an image further names", _tag, arguments="REF NEW...", least=2, most=None,
        flags=[Flag("force", "bool", "Names that other images have move in any case")],
        examples=["cortenctl images tag docker.io/library/busybox:latest registry.example/tools:1"],
    ),
    "rm": Command(
        "Remove images", _rm, arguments="REF...", least=1, most=None,
        flags=[
            Flag("force", "bool", "Also what containers use", short="f"),
            PLAN,
            Flag("sync", "bool", "Return when the disk is freed"),
        ],
        examples=["cortenctl images rm --sync docker.io/library/busybox:latest"],
    ),
    **ARCHIVES,
    **MOUNTS,
    **CHECKS,
}  # fmt: skip
