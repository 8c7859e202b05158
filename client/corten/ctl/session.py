"""What a command works with: requests to the native API in a namespace, and ways to print answers."""

from __future__ import annotations

import json
import os
import sys

from corten.address import default_host
from corten.output import err, escape, out, sentence, table
from corten.transport import Transport, quote
from corten_shared.errors import CortenError, DeadlineExceeded, from_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Any

    from corten.flags import Options
    from corten.transport import Response

PREFIX = "/api/v1"


class Session:
    """One run of `cortenctl`."""

    def __init__(self, options: Options, leading: Options | None = None) -> None:
        self.options = options
        given: dict[str, Any] = leading.values if leading else {}
        address = options["address"] or default_host("CORTEN_HOST")
        self.namespace: str = options["namespace"] or os.environ.get("CORTEN_NAMESPACE", "default")
        self.json: bool = options["output"] == "json"
        self.quiet: bool = bool(options.get("quiet"))
        self.spread: bool = bool(options.get("all-namespaces"))
        self.debug: bool = bool(given.get("debug"))
        self.transport = Transport(address, connect_timeout=(given.get("connect-timeout") or 0) / 1e9 or None)
        if given.get("timeout"):
            _limit(given["timeout"] / 1e9)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.transport.close()

    # -- requests ---------------------------------------------------------------------------------------------------

    def open(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Transport | None = None,
    ) -> Response:
        """Send a request and return the answer, unread. Raises the error that it is."""
        sender = transport or self.transport
        query = {"namespace": self.namespace, **(query or {})}
        reply = sender.request(method, PREFIX + path, query=query, body=body, headers=headers)
        if self.debug:
            err(f"{method} {PREFIX}{path} {reply.status}")
        return _checked(reply)

    def call(self, method: str, path: str, body: Any = None, **query: object) -> Any:
        """Send a request; its JSON answer, or None."""
        return self.open(method, path, body, query=query).json()

    def items(self, path: str, **query: object) -> list[dict[str, Any]]:
        """A list; with `-A`, of every namespace, which each entry then names."""
        if not self.spread:
            return self._items(path, **query)
        names = [found["name"] for found in self._items("/namespaces")]
        return [
            {"namespace": name, **found} for name in names for found in self._items(path, namespace=name, **query)
        ]

    def _items(self, path: str, **query: object) -> list[dict[str, Any]]:
        return list(self.call("GET", path, **query)["items"])

    def lines(self, method: str, path: str, body: Any = None, **query: object) -> Iterator[dict[str, Any]]:
        """A stream's objects; raises the error that its last line may be."""
        with self.open(method, path, body, query=query) as reply:
            for line in reply.json_lines():
                if "error" in line and isinstance(line["error"], dict):
                    raise from_body(line)
                yield line

    def hijack(self, path: str, **query: object) -> Response:
        """Have the connection of a POST handed over."""
        query = {"namespace": self.namespace, **query}
        return _checked(self.transport.hijack("POST", PREFIX + path, query=query))

    # -- printing ---------------------------------------------------------------------------------------------------

    def show(self, found: Sequence[dict[str, Any]], columns: Mapping[str, Callable[[dict[str, Any]], object]]) -> int:
        """A list as a table (with `-A`, with a column of namespaces), as JSON, or (`-q`) its first column alone."""
        if self.spread:
            columns = {"NAMESPACE": lambda row: row["namespace"], **columns}
        if self.json:
            self.dump(found)
        elif self.quiet:
            first = list(columns.values())[1 if self.spread else 0]
            out("".join(f"{escape(first(row))}\n" for row in found), end="")
        else:
            rows = [[str(cell(row)) for cell in columns.values()] for row in found]
            out(table(rows, list(columns)), end="")
        return 0

    def dump(self, value: Any) -> int:
        """A value as JSON; safe on a terminal, because JSON escapes control characters.

        A record in the other forms: with `-o table` a line for each member, with `-q` its name.
        """
        if self.quiet and isinstance(value, dict):
            out(escape(_name_of(value)))
        elif self.options["output"] == "table" and isinstance(value, dict):
            out(table(_flat("", value), ["FIELD", "VALUE"]), end="")
        else:
            out(json.dumps(value, indent=2, ensure_ascii=sys.stdout.isatty()))
        return 0

    def plan(self, action: str, objects: Sequence[str] = (), **request: object) -> int:
        """Show what an action would remove."""
        found = self.call("POST", "/plan", {"action": action, "objects": list(objects), **request})
        if self.json:
            return self.dump(found)
        from corten.keeping import show_plan

        show_plan(found)
        return 0

    def tell(self, name: object) -> None:
        """What a command made or changed."""
        out(json.dumps(name) if self.json else escape(name))

    def each(self, names: Iterable[str], action: Callable[[str], object]) -> int:
        """Do it for every name, going on after failures; 1 when any failed. As JSON: the list of what was done."""
        code = 0
        done: list[str] = []
        for name in names:
            try:
                action(name)
            except CortenError as error:
                err(f"cortenctl: {sentence(error)}")
                code = 1
            else:
                done.append(name)
                if not self.json:
                    self.tell(name)
        if self.json:
            self.dump(done)
        return code


def _limit(seconds: float) -> None:
    """Raise DeadlineExceeded from wherever the command is by then."""
    import signal

    def expired(number: int, frame: object) -> None:
        raise DeadlineExceeded(f"not done within {seconds:g}s", hint="What it began may go on; allow more --timeout")

    signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _name_of(value: Mapping[str, Any]) -> object:
    for key in ("name", "id", "ref", "digest", "key", "container", "task", "record"):
        if found := value.get(key):
            return _name_of(found) if isinstance(found, dict) else found
    return "-"


def _flat(prefix: str, value: Any) -> list[list[str]]:
    """A record's members as rows, those of records within it with dots."""
    if isinstance(value, dict) and value:
        return [row for key, member in value.items() for row in _flat(f"{prefix}.{key}" if prefix else key, member)]
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        value = ", ".join(map(str, value))
    shown = value if isinstance(value, str) else "" if value in (None, {}, []) else json.dumps(value)
    return [[prefix, shown]]


def _checked(reply: Response) -> Response:
    if reply.status >= 400:
        raise from_body(reply.json())
    return reply


def segment(text: str) -> str:
    """A name within a path; slashes stay."""
    return quote(text, safe="/:@")


def moment(text: object) -> str:
    """An API time for a table: whole seconds."""
    shown = str(text)
    return "-" if shown.startswith("0001-") else shown[:19] + "Z"


def pairs(labels: Mapping[str, str]) -> str:
    """Labels for a table."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "-"
