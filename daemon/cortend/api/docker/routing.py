"""The table of routes: method and path to handler.

Paths are written as in starlette: `{id}` is one segment, `{name:path}` any number of them (an image's name has
slashes and colons). Of several that match the first wins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from re import Pattern
from typing import NamedTuple

from starlette.responses import Response
from starlette.routing import compile_path

from cortend.api.docker.call import Call

Handler = Callable[[Call], Awaitable[Response]]


class Route(NamedTuple):
    """One route: method, path, and what answers."""

    method: str
    path: str
    handler: Handler


class Routes:
    """Finds the handler of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[tuple[str, str], Handler] = {}
        self._patterns: dict[str, list[tuple[Pattern[str], Handler]]] = defaultdict(list)
        for route in routes:
            if "{" in route.path:
                self._patterns[route.method].append((compile_path(route.path)[0], route.handler))
            else:
                self._fixed[route.method, route.path] = route.handler

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]] | None:
        """The handler and the path's parameters; None when there is no such route."""
        if handler := self._fixed.get((method, path)):
            return handler, {}
        for pattern, candidate in self._patterns.get(method, ()):
            if match := pattern.match(path):
                return candidate, match.groupdict()
        return None
