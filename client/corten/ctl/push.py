"""`cortenctl images push` and `cortenctl content push-object`."""

from __future__ import annotations

import sys

from corten.ctl.command import QUIET, Command, told
from corten.ctl.registry import REGISTRY_FLAGS, with_login
from corten.ctl.session import Session, segment
from corten.flags import Flag
from corten.output import escape, out
from corten.progress import board
from corten_shared.errors import DataLoss

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from corten.flags import Options
    from corten.progress import Bars, Lines


def _push(session: Session, options: Options) -> int:
    reference, *local = options.args
    body: dict[str, Any] = {
        "reference": reference,
        "local": local[0] if local else "",
        "all_tags": options["all-tags"],
        "platform": options["platform"],
        "manifest": options["manifest"],
        "concurrent": options["max-concurrent-uploaded-layers"],
    }
    return _follow(session, options, "/images/push", body)


def _push_object(session: Session, options: Options) -> int:
    reference, digest, *kind = options.args
    body: dict[str, Any] = {"reference": reference}
    if kind:
        body["media_type"] = kind[0]
    return _follow(session, options, f"/content/{segment(digest)}/push", body)


def _follow(session: Session, options: Options, path: str, body: dict[str, Any]) -> int:
    """Show the stream, and in the end what the registry has."""
    progress = session.lines("POST", path, with_login(options, body))
    if session.quiet or session.json:
        lines = list(progress)
    else:
        with board(sys.stdout) as display:
            lines = list(_shown(progress, display))
    if not lines:
        raise DataLoss("the push ended before it was done", hint="See cortend's log, and try again")
    pushed = [line["pushed"] for line in lines if line.get("pushed")]
    if session.json:
        return session.dump(pushed)
    if session.quiet:
        out("".join(f"{escape(item['digest'])}\n" for item in pushed), end="")
    return 0


def _shown(progress: Iterator[dict[str, Any]], display: Bars | Lines) -> Iterator[dict[str, Any]]:
    for line in progress:
        status, part = line["status"], line.get("id")
        if part is None:
            display.message(status)
        else:
            display.update(part, status, line.get("current") or 0, line.get("total") or 0)
        yield line


PUSH = Command(
    "Push an image",
    _push,
    arguments="REF [LOCAL]",
    flags=[
        Flag("all-tags", "bool", "Every tag of the repository that is here"),
        Flag("manifest", "string", "Digest of the manifest to push, of several that the image has"),
        Flag("max-concurrent-uploaded-layers", "int", "Layers sent at once (default: as the daemon is configured)"),
        Flag("platform", "string", "Push one platform alone (os/arch[/variant])"),
        told("manifest-type", "string", "the manifest itself says what it is"),
        told("allow-non-distributable-blobs", "bool", "images with such layers are not taken in the first place"),
        *REGISTRY_FLAGS,
        QUIET,
    ],
    least=1,
    most=2,
    examples=[
        "cortenctl images push registry.example/app:1",
        "cortenctl images push registry.example/app:1 docker.io/library/app:latest",
        "cortenctl images push --platform linux/arm64 registry.example/app:1-arm64 registry.example/app:1",
    ],
)
PUSH_OBJECT = Command(
    "Push one blob, manifest or index by itself",
    _push_object,
    arguments="REF DIGEST [TYPE]",
    flags=[*REGISTRY_FLAGS, QUIET],
    least=2,
    most=3,
    examples=[
        "cortenctl content push-object registry.example/app sha256:9f1e0c…",
        "cortenctl content push-object registry.example/app:1 sha256:41a… application/vnd.oci.image.manifest.v1+json",
    ],
)
