"""Requests described once, carried out by two clients.

A noun's method describes what to ask and how to read the answer; it does no I/O. The descriptors below turn such a
description into a blocking method on `Client`'s nouns and into a coroutine (or an async iterator) on `AsyncClient`'s,
with types that a checker follows:

    class ContainerCalls(Noun):
        @call
        def get(self, ref: str) -> Call[ContainerDetail]: ...

    Containers(ContainerCalls, SyncNoun).get("web")            -> ContainerDetail
    await AsyncContainers(ContainerCalls, AsyncNoun).get("web") -> ContainerDetail
"""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload
from urllib.parse import quote as _quote

from pydantic import BaseModel

from corten_shared.errors import DataLoss, from_body
from corten_shared.models.api import REVEAL, Items

MAX_LINE = 16 << 20
"""Bytes of one line of a stream."""

P = ParamSpec("P")
T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request and how to read its whole answer. `query` members that are None are left out.

    What is sent is `body` as JSON, or `data` as it is.
    """

    method: str
    path: str
    parse: Callable[[bytes], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: BaseModel | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = None

    def parameters(self) -> dict[str, Any]:
        """The query as an HTTP library takes it."""
        return {key: value for key, value in self.query.items() if value is not None}

    def content(self) -> bytes | None:
        """What is sent. Secrets are written out: this is what they are for."""
        if self.body is None:
            return self.data
        return self.body.model_dump_json(context=REVEAL).encode()


@dataclass(frozen=True)
class StreamCall(Call[T]):
    """A request whose answer is read in pieces: JSON lines (`parse` takes a line), or raw bytes as they come."""

    raw: bool = False


Script = Generator[Call[Any], Any, T]
"""Several requests, each depending on the answers before: yields calls, is sent their answers, returns the result."""


def segment(text: str) -> str:
    """A name as one path segment, or several where it has slashes."""
    return _quote(text, safe="/:@")


def record(model: type[Model]) -> Callable[[bytes], Model]:
    """Reads a record."""
    return model.model_validate_json


def items(model: type[Model]) -> Callable[[bytes], list[Model]]:
    """Reads a list of records."""
    return lambda data: Items[model].model_validate_json(data).items  # type: ignore[valid-type]


def nothing(data: bytes) -> None:
    """Reads an answer without content."""


def line_of(model: type[Model]) -> Callable[[bytes], Model]:
    """Reads a line of a stream; raises the error that a last line may be."""

    def parse(line: bytes) -> Model:
        if line.startswith(b'{"error"'):
            raise failure(line)
        return model.model_validate_json(line)

    return parse


def failure(body: bytes) -> Exception:
    """The taxonomy's error for an error body."""
    try:
        return from_body(json.loads(body))
    except ValueError:
        return DataLoss(f"the daemon sent what is not JSON: {body[:80]!r}")


class Pieces(Generic[T]):
    """Cuts a stream's bytes into what a StreamCall yields. Lines end with a newline byte and nothing else: text of a
    container may hold every other character that Python takes for a line's end."""

    def __init__(self, request: StreamCall[T]) -> None:
        self._request = request
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[T]:
        """The pieces that `data` completes."""
        if self._request.raw:
            yield self._request.parse(data)
            return
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise DataLoss(f"a line of the daemon's answer is longer than {MAX_LINE} bytes")
        yield from (self._request.parse(line) for line in whole if line)

    def finish(self) -> None:
        """To be called at the stream's end; raises DataLoss when it was cut within a line."""
        if self._rest:
            raise DataLoss("the daemon's answer ended in the middle of a line")


class Sender(Protocol):
    """What a blocking noun needs of its client."""

    namespace: str

    def send(self, request: Call[T]) -> T:
        """Carry out and read the whole answer."""
        ...

    def stream(self, request: StreamCall[T]) -> Iterator[T]:
        """Carry out and read the answer in pieces."""
        ...


class AsyncSender(Protocol):
    """What an async noun needs of its client."""

    namespace: str

    async def send(self, request: Call[T]) -> T:
        """Carry out and read the whole answer."""
        ...

    def stream(self, request: StreamCall[T]) -> AsyncIterator[T]:
        """Carry out and read the answer in pieces."""
        ...


class Noun:
    """What descriptions see of themselves."""

    _client: Sender | AsyncSender

    def _query(self, **members: Any) -> dict[str, Any]:
        """The query of a call in the client's namespace; booleans as the API writes them."""
        query = {"namespace": self._client.namespace, **members}
        return {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}


class SyncNoun(Noun):
    """A noun of `Client`."""

    _client: Sender

    def __init__(self, client: Sender) -> None:
        self._client = client


class AsyncNoun(Noun):
    """A noun of `AsyncClient`."""

    _client: AsyncSender

    def __init__(self, client: AsyncSender) -> None:
        self._client = client


class call(Generic[P, T]):
    """A method that is one request."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self._describe = describe
        functools.update_wrapper(self, describe)  # type: ignore[arg-type]

    @overload
    def __get__(self, noun: SyncNoun, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, noun: AsyncNoun, owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, noun: None, owner: type) -> call[P, T]: ...
    def __get__(self, noun: SyncNoun | AsyncNoun | None, owner: type) -> Any:
        if noun is None:
            return self

        @functools.wraps(self._describe)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return noun._client.send(self._describe(noun, *args, **kwargs))

        return method


class stream(Generic[P, T]):
    """A method whose answer is iterated over; nothing is sent before the first step."""

    def __init__(self, describe: Callable[Concatenate[Any, P], StreamCall[T]]) -> None:
        self._describe = describe
        functools.update_wrapper(self, describe)  # type: ignore[arg-type]

    @overload
    def __get__(self, noun: SyncNoun, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, noun: AsyncNoun, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, noun: None, owner: type) -> stream[P, T]: ...
    def __get__(self, noun: SyncNoun | AsyncNoun | None, owner: type) -> Any:
        if noun is None:
            return self

        @functools.wraps(self._describe)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return noun._client.stream(self._describe(noun, *args, **kwargs))

        return method


class script(Generic[P, T]):
    """A method that is several requests."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Script[T]]) -> None:
        self._describe = describe
        functools.update_wrapper(self, describe)  # type: ignore[arg-type]

    @overload
    def __get__(self, noun: SyncNoun, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, noun: AsyncNoun, owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, noun: None, owner: type) -> script[P, T]: ...
    def __get__(self, noun: SyncNoun | AsyncNoun | None, owner: type) -> Any:
        if noun is None:
            return self
        run = _run_async if isinstance(noun, AsyncNoun) else _run

        @functools.wraps(self._describe)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return run(noun._client, self._describe(noun, *args, **kwargs))

        return method


def _run(client: Any, steps: Script[T]) -> T:
    """Carry a script out, handing it each answer or failure."""
    try:
        step = next(steps)
        while True:
            try:
                answer = client.send(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def _run_async(client: Any, steps: Script[T]) -> T:
    try:
        step = next(steps)
        while True:
            try:
                answer = await client.send(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
