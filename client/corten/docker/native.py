"""What docker's API has no words for, asked of corten's own API on the same socket: `why`, and `--plan`.

Another engine (`corten` talks to dockerd too) does not have it, and is told from one that has by its answer.
"""

from __future__ import annotations

from corten.command import Command
from corten.docker.engine import EngineError
from corten.flags import Flag
from corten.output import out
from corten_shared.errors import Unimplemented, from_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.docker.session import Session
    from corten.flags import Options

_PREFIX = "/api/v1"
PLAN = Flag("plan", "bool", "Say what would be removed and how much is freed; remove nothing")


def call(session: Session, method: str, path: str, query: dict[str, object] | None = None, body: Any = None) -> Any:
    """The parsed answer. Raises the error that it is; Unimplemented where the engine is not corten."""
    reply = session.engine.transport.request(method, _PREFIX + path, query=query, body=body)
    with reply:
        foreign = "json" not in (reply.headers.get("content-type") or "")
        answer = None if foreign else reply.json()
    if reply.status < 400 and not foreign:
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
        raise EngineError(reply.status, from_body(answer).message)
    raise Unimplemented(
        f"the engine at {session.host()} is not corten: it cannot say what keeps an object or what a removal frees",
        hint="Start cortend, or leave out what only corten has",
    )


def plan(session: Session, action: str, objects: list[str] | None = None, **request: object) -> int:
    """Show the plan of an action of the native API."""
    from corten.keeping import show_plan

    show_plan(call(session, "POST", "/plan", body={"action": action, "objects": objects or [], **request}))
    return 0


def _run_why(session: Session, options: Options) -> int:
    answers: list[dict[str, Any]] = []
    for name in options.args:
        answers += call(session, "GET", "/why", {"object": name, "kind": options["type"] or None})["items"]
    if options["output"] == "json":
        import json

        out(json.dumps(answers, indent=2))
    else:
        from corten.keeping import show_why

        show_why(answers)
    return 0


def _form(text: str) -> str:
    if text not in ("", "text", "json"):
        raise ValueError("it is text or json")
    return text


WHY = Command(
    "Show what keeps a container, image, volume, layer or lease, or when it goes",
    _run_why,
    arguments="OBJECT [OBJECT...]",
    flags=[
        Flag("output", "string", "`text` or `json`", short="o", convert=_form),
        Flag("type", "string", "Only objects of this kind: containers, images, volumes, content, snapshots, leases"),
    ],
    least=1,
    most=None,
)
