"""Answers to `why` and `--plan` for people: the same lines in both clients."""

from __future__ import annotations

import time

from corten.output import escape, human_duration, human_size, out, short_id, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_WORDS = {"containers": "container", "images": "image", "leases": "lease", "volumes": "volume", "content": "content"}


def show_why(answers: Iterable[dict[str, Any]]) -> None:
    """One paragraph for each object."""
    for number, answer in enumerate(answers):
        out(("\n" if number else "") + "\n".join(why_lines(answer)))


def why_lines(answer: dict[str, Any]) -> Iterator[str]:
    """What keeps it, a chain a line; or that nothing does, and when it goes."""
    shown = _link(answer["object"], with_role=False)
    if not answer["kept"]:
        yield f"{shown}: nothing keeps it. {_goes(answer)}"
        return
    chains = answer["chains"]
    if all(len(chain["links"]) == 1 for chain in chains):
        yield f"{shown}: {_itself(answer)}"
    else:
        yield f"{shown} is kept by"
        for chain in chains:
            yield "  " + " -> ".join(map(_link, chain["links"])) + _ends(chain)
    if answer["more"]:
        yield f"  … and {answer['more']} more"
    for user in answer["users"]:
        yield f"  {_link(user)} was made from it"
    if answer.get("goes_at") is not None:
        yield f"  {_goes(answer)}"


def _itself(answer: dict[str, Any]) -> str:
    kind, chain = answer["object"]["kind"], answer["chains"][0]
    if kind == "volumes":
        if answer["object"]["role"] == "anonymous":
            return "no container uses it. `volume prune` removes it, the collector never does."
        return "no container uses it. It stays until it is removed; `volume prune --all` would."
    if kind in ("containers", "images", "leases"):
        return f"it stays until it is removed{_ends(chain)}"
    return f"a label keeps it for itself (gc.root or gc.expire){_ends(chain)}"


def _link(link: dict[str, Any], *, with_role: bool = True) -> str:
    kind = link["kind"]
    word = _WORDS.get(kind) or kind.replace("snapshots/", "snapshot ", 1).partition(" ")[0]
    role = link["role"] if with_role else ""
    name = link["name"] or link["id"]
    text = f"{word} {short_id(name) if kind == 'containers' and not link['name'] else name}"
    return escape(f"{role} ({text})" if role in ("manifest", "config") or role.startswith("layer") else (
        f"{text} ({role})" if role else text
    ))  # fmt: skip


def _ends(chain: dict[str, Any]) -> str:
    return f" (expires {_when(chain['expires'])})" if chain.get("expires") is not None else ""


def _goes(answer: dict[str, Any]) -> str:
    return f"The collector takes it {_when(answer['goes_at'])}."


def _when(moment: str) -> str:
    """`in 3 hours`, `now`."""
    from corten_shared.times import parse_rfc3339

    left = parse_rfc3339(moment) / 1e9 - time.time()
    return "now" if left < 1 else f"in {human_duration(left).lower()}"


def show_plan(plan: dict[str, Any]) -> None:
    """A table of what would go, and the sum."""
    items = plan["items"]
    if not items:
        out("Nothing would be removed.")
        return
    spread = len({item["namespace"] for item in items}) > 1
    rows = [
        [*([item["namespace"]] if spread else []), item["kind"], item["name"] or item["id"], human_size(item["bytes"])]
        for item in items
    ]
    out(table(rows, [*(["NAMESPACE"] if spread else []), "KIND", "OBJECT", "FREES"]), end="")
    count = "1 object" if len(items) == 1 else f"{len(items)} objects"
    out(f"{count} would be removed and {human_size(plan['bytes_freed'])} freed. Nothing was removed.")
