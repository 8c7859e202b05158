"""Go templates, as docker's `--format` uses them, over plain JSON values.

What is there: text and `{{...}}` with trim markers and comments; fields and chains (`.State.Pid`),
variables, string and number literals, parentheses and pipelines; `if`, `else if`, `else`,
`range`, `with`, `break`, `continue`; Go's functions (and or not eq ne lt le gt ge len index slice
print printf println html js urlquery) and docker's (json split join title lower upper pad
truncate). A field that does not exist is an error that names those that do.

    Template("{{.Name}}: {{json .Labels}}").render(data)

Templates come from the user who runs the command; data from the daemon. Output is plain text, and
escaping it is the caller's business.
"""

from __future__ import annotations

import json
import re

from corten.rows import Row
from corten.template_functions import FUNCTIONS, go_text, truth
from corten_shared.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

MAX_DEPTH = 100
"""Nesting of blocks and parentheses."""

_ACTION = re.compile(r"\{\{(- )?(.*?)( -)?\}\}", re.DOTALL)
_COMMENT = re.compile(r"\s*/\*.*?\*/\s*\Z", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)
    |(?P<number>[+-]?\d+(?:\.\d+)?)
    |(?P<field>\.[^\W\d]\w*)
    |(?P<variable>\$\w*)
    |(?P<word>[^\W\d]\w*)
    |(?P<mark>:=|[().|,=]))""",
    re.VERBOSE,
)


class TemplateError(InvalidArgument):
    """The template is malformed, or asks for what the data does not have."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Scope:
    """Where a piece of the template is evaluated: the dot, and the variables."""

    __slots__ = ("dot", "variables")

    def __init__(self, dot: Any, variables: dict[str, Any]) -> None:
        self.dot = dot
        self.variables = variables

    def inner(self, dot: Any) -> _Scope:
        return _Scope(dot, dict(self.variables))




class Template:
    """A parsed template; raises TemplateError when `source` is malformed."""

    def __init__(self, source: str, functions: dict[str, Callable[..., Any]] | None = None) -> None:
        self._functions = {**FUNCTIONS, **(functions or {})}
        parser = _Parser(_pieces(source), self._functions)
        self._nodes = parser.block(())[0]

    def render(self, data: Any) -> str:
        """The template's text for `data`."""
        out: list[str] = []
        try:
            _run(self._nodes, _Scope(data, {"$": data}), out)
        except (TypeError, ValueError, IndexError) as exc:
            raise TemplateError(f"template: {exc}") from None
        return "".join(out)


def _run(nodes: list[Callable[[_Scope, list[str]], None]], scope: _Scope, out: list[str]) -> None:
    for node in nodes:
        node(scope, out)


def _pieces(source: str) -> Iterator[tuple[bool, str]]:
    """(is action, text), with the blanks gone that trim markers ask for."""
    at, trim = 0, False
    for match in _ACTION.finditer(source):
        text = source[at : match.start()]
        text = text.lstrip() if trim else text
        yield False, text.rstrip() if match[1] else text
        if not _COMMENT.match(match[2]):
            yield True, match[2].strip()
        at, trim = match.end(), bool(match[3])
    rest = source[at:]
    if "{{" in rest:
        raise TemplateError(f"template parsing error: unclosed action in {rest[:60]!r}")
    yield False, rest.lstrip() if trim else rest


def _tokens(action: str) -> list[tuple[str, str, bool]]:
    """(kind, text, whether blanks come before) of an action."""
    tokens, at = [], 0
    action = action.rstrip()
    while at < len(action):
        match = _TOKEN.match(action, at)
        if match is None:
            raise TemplateError(f"template parsing error: unexpected {action[at:].strip()[:20]!r} in {action[:60]!r}")
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind], match.start(kind) > at or at == 0))
        at = match.end()
    return tokens


class _Parser:
    """Turns pieces into closures; each block is a list of them."""

    def __init__(self, pieces: Iterator[tuple[bool, str]], functions: dict[str, Callable[..., Any]]) -> None:
        self._pieces = pieces
        self._functions = functions
        self._tokens: list[tuple[str, str, bool]] = []
        self._at = 0
        self._depth = 0

    def block(self, ends: tuple[str, ...]) -> tuple[list[Callable[[_Scope, list[str]], None]], str]:
        """Nodes up to one of `ends`, and the action that ended them."""
        nodes: list[Callable[[_Scope, list[str]], None]] = []
        for is_action, text in self._pieces:
            if not is_action:
                if text:
                    nodes.append(_text(text))
                continue
            word = text.split(None, 1)[0] if text else ""
            if word in ends:
                return nodes, text
            nodes.append(self._action(word, text))
        if ends:
            raise TemplateError("template parsing error: unexpected EOF: a block has no {{end}}")
        return nodes, ""

    def _action(self, word: str, text: str) -> Callable[[_Scope, list[str]], None]:
        rest = text[len(word) :]
        if word in ("if", "with"):
            return self._conditional(rest, rebind=word == "with")
        if word == "range":
            return self._range(rest)
        if word in ("break", "continue"):
            return _jump(_Break if word == "break" else _Continue)
        if word in ("end", "else", "define", "template", "block", ""):
            raise TemplateError(f"template parsing error: unexpected {{{{{text}}}}}")
        return self._print(text)

    def _nested(self, ends: tuple[str, ...]) -> tuple[list[Callable[[_Scope, list[str]], None]], str]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateError("template parsing error: blocks nest too deeply")
        found = self.block(ends)
        self._depth -= 1
        return found

    def _conditional(self, condition: str, *, rebind: bool) -> Callable[[_Scope, list[str]], None]:
        name, value = self._declaration(condition)
        then, end = self._nested(("else", "end"))
        otherwise: list[Callable[[_Scope, list[str]], None]] = []
        if end.startswith("else"):
            following = end[4:].strip()
            if following.startswith(("if ", "with ", "if(", "with(")):
                word = "with" if following.startswith("with") else "if"
                otherwise = [self._conditional(following[len(word) :], rebind=word == "with")]
            else:
                otherwise = self._nested(("end",))[0]

        def node(scope: _Scope, out: list[str]) -> None:
            found = value(scope)
            inner = scope.inner(found if rebind and truth(found) else scope.dot)
            if name:
                inner.variables[name] = found
            _run(then if truth(found) else otherwise, inner, out)

        return node

    def _range(self, header: str) -> Callable[[_Scope, list[str]], None]:
        names: list[str] = []
        if ":=" in header:
            declared, header = header.split(":=", 1)
            names = [name.strip() for name in declared.split(",")]
            if len(names) > 2 or not all(re.fullmatch(r"\$\w+", name) for name in names):
                raise TemplateError(f"template parsing error: bad range declaration {declared.strip()!r}")
        value = self._expression(header)
        body, end = self._nested(("else", "end"))
        otherwise = self._nested(("end",))[0] if end == "else" else []

        def node(scope: _Scope, out: list[str]) -> None:
            pairs = list(_pairs(value(scope)))
            for key, item in pairs:
                inner = scope.inner(item)
                inner.variables.update(zip(reversed(names), (item, key), strict=False))
                try:
                    _run(body, inner, out)
                except _Break:
                    break
                except _Continue:
                    continue
            if not pairs:
                _run(otherwise, scope, out)

        return node

    def _print(self, text: str) -> Callable[[_Scope, list[str]], None]:
        name, value = self._declaration(text)

        def node(scope: _Scope, out: list[str]) -> None:
            found = value(scope)
            if name:
                scope.variables[name] = found
            else:
                out.append(go_text(found))

        return node

    def _declaration(self, text: str) -> tuple[str, Callable[[_Scope], Any]]:
        """`$x := pipeline` or a pipeline."""
        match = re.match(r"\s*(\$\w+)\s*:?=(?!=)", text)
        if match:
            return match[1], self._expression(text[match.end() :])
        return "", self._expression(text)

    def _expression(self, text: str) -> Callable[[_Scope], Any]:
        self._tokens, self._at = _tokens(text), 0
        value = self._pipeline()
        if self._at < len(self._tokens):
            raise TemplateError(f"template parsing error: unexpected {self._tokens[self._at][1]!r} in {text.strip()!r}")
        return value

    def _peek(self) -> tuple[str, str, bool]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "", True)

    def _pipeline(self) -> Callable[[_Scope], Any]:
        value = self._command(None)
        while self._peek()[1] == "|" and self._peek()[0] == "mark":
            self._at += 1
            value = self._command(value)
        return value

    def _command(self, piped: Callable[[_Scope], Any] | None) -> Callable[[_Scope], Any]:
        kind, word, _ = self._peek()
        literal = word in ("true", "false", "nil")
        if kind == "word" and not literal:
            self._at += 1
            return self._call(word, piped)
        value = self._operand()
        arguments = []
        while self._starts_operand():
            arguments.append(self._operand())
        if piped is not None:
            arguments.append(piped)
        return _method(value, word, arguments) if arguments else value

    def _starts_operand(self) -> bool:
        kind, word, _ = self._peek()
        return kind in ("string", "number", "field", "variable", "word") or word in ("(", ".")

    def _call(self, name: str, piped: Callable[[_Scope], Any] | None) -> Callable[[_Scope], Any]:
        function = self._functions.get(name)
        if function is None:
            known = ", ".join(sorted(self._functions))
            raise TemplateError(f'template parsing error: function "{name}" not defined', hint=f"There are: {known}")
        arguments = []
        while self._starts_operand():
            if self._peek()[0] == "word" and self._peek()[1] not in ("true", "false", "nil"):
                inner = self._peek()[1]
                self._at += 1
                arguments.append(self._call_bare(inner))
            else:
                arguments.append(self._operand())
        if piped is not None:
            arguments.append(piped)
        if name in ("and", "or"):
            return _short_circuit(name == "or", arguments)

        def call(scope: _Scope) -> Any:
            try:
                return function(*(argument(scope) for argument in arguments))
            except (TypeError, ValueError, IndexError, KeyError) as exc:
                raise TemplateError(f"template: error calling {name}: {exc}") from None

        return call

    def _call_bare(self, name: str) -> Callable[[_Scope], Any]:
        function = self._functions.get(name)
        if function is None:
            raise TemplateError(f'template parsing error: function "{name}" not defined')
        return lambda scope: function()

    def _operand(self) -> Callable[[_Scope], Any]:
        kind, word, _ = self._peek()
        self._at += 1
        value: Callable[[_Scope], Any]
        if kind == "string":
            text = word[1:-1] if word[0] == "`" else json.loads(word)
            value = lambda scope: text  # noqa: E731
        elif kind == "number":
            number = float(word) if "." in word else int(word)
            value = lambda scope: number  # noqa: E731
        elif kind == "word":
            constant = {"true": True, "false": False, "nil": None}[word]
            value = lambda scope: constant  # noqa: E731
        elif kind == "variable":
            value = _variable(word)
        elif kind == "field":
            value = _field(lambda scope: scope.dot, word[1:])
        elif word == "(":
            value = self._parenthesised()
        elif word == ".":
            value = lambda scope: scope.dot  # noqa: E731
        else:
            raise TemplateError("template parsing error: missing value for command")
        while self._peek()[0] == "field" and not self._peek()[2]:
            value = _field(value, self._peek()[1][1:])
            self._at += 1
        return value

    def _parenthesised(self) -> Callable[[_Scope], Any]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateError("template parsing error: parentheses nest too deeply")
        value = self._pipeline()
        self._depth -= 1
        if self._peek()[1] != ")":
            raise TemplateError("template parsing error: unclosed left paren")
        self._at += 1
        return value


def _text(text: str) -> Callable[[_Scope, list[str]], None]:
    return lambda scope, out: out.append(text)


def _jump(kind: type[Exception]) -> Callable[[_Scope, list[str]], None]:
    def node(scope: _Scope, out: list[str]) -> None:
        raise kind

    return node


def _variable(name: str) -> Callable[[_Scope], Any]:
    def value(scope: _Scope) -> Any:
        if name not in scope.variables:
            raise TemplateError(f"template parsing error: undefined variable {name!r}")
        return scope.variables[name]

    return value


def _method(
    value: Callable[[_Scope], Any], word: str, arguments: list[Callable[[_Scope], Any]]
) -> Callable[[_Scope], Any]:
    """A field that takes arguments, as `.Label "key"`; only rows have some (see `Row`)."""

    def call(scope: _Scope) -> Any:
        function = value(scope)
        if not callable(function):
            raise TemplateError(f"template: can't give argument to non-function {word!r}")
        return function(*(argument(scope) for argument in arguments))

    return call


def _field(owner: Callable[[_Scope], Any], name: str) -> Callable[[_Scope], Any]:
    def value(scope: _Scope) -> Any:
        found = owner(scope)
        if isinstance(found, dict):
            if name in found:
                return found[name]
            if isinstance(found, Row) and name in found.methods:
                return found.methods[name]
            keys = ", ".join(sorted(map(str, found))[:60])
            hint = f"There are: {keys}" if keys else None
            raise TemplateError(f'template: map has no entry for key "{name}"', hint=hint)
        if found is None:
            raise TemplateError(f"template: nil data; no entry for key {name!r}")
        raise TemplateError(f"template: can't evaluate field {name} in {type(found).__name__} value")

    return value


def _short_circuit(wanted: bool, arguments: list[Callable[[_Scope], Any]]) -> Callable[[_Scope], Any]:
    def value(scope: _Scope) -> Any:
        found: Any = None
        for argument in arguments:
            found = argument(scope)
            if truth(found) == wanted:
                break
        return found

    return value


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    """What `range` goes over: (key, value) of a map in key order, (index, item) of a list."""
    if isinstance(value, dict):
        return iter(sorted(value.items()))
    if isinstance(value, list):
        return iter(enumerate(value))
    if value is None:
        return iter(())
    if isinstance(value, int) and not isinstance(value, bool):
        return ((number, number) for number in range(min(value, 1_000_000)))
    raise TemplateError(f"template: range can't iterate over {go_text(value)[:60]}")
