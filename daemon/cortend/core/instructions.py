"""Dockerfile instructions that set an image's configuration: the `changes` of commit and import (pure).

    CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR

Read as a Dockerfile is: lines may be continued with a backslash, `#` begins a comment line, variables of the image are
put in where docker does so, quotes and backslashes are the shell's.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from corten_shared.errors import InvalidArgument
from corten_shared.models.oci import RunConfig

MAX_CHANGES = 256
"""Instructions of one commit or import."""
_MOST_PORTS = 65536
_SHELL = ["/bin/sh", "-c"]
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_OPTION = re.compile(r"--([a-z-]+)=(\S+)\s*")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::([-+])([^}]*))?\})", re.ASCII)

_Config = dict[str, Any]


def apply(changes: Iterable[str], base: RunConfig | None = None) -> RunConfig:
    """`base` (default: an empty one) with the instructions applied; raises InvalidArgument naming the instruction."""
    config: _Config = (base or RunConfig()).model_dump(by_alias=True, exclude_none=True)
    lines = list(_lines(changes))
    if len(lines) > MAX_CHANGES:
        raise InvalidArgument(f"more than {MAX_CHANGES} changes")
    words = [_split(line) for line in lines]
    if any(word == "ENTRYPOINT" for word, _ in words) and not any(word == "CMD" for word, _ in words):
        config.pop("Cmd", None)  # a command belongs to its entrypoint (docker's rule)
    for line, (word, rest) in zip(lines, words, strict=True):
        try:
            if (instruction := _INSTRUCTIONS.get(word)) is None:
                raise ValueError(f"{word[:40]} is not a valid change command")
            if not rest:
                raise ValueError("it says nothing")
            instruction(config, rest)
        except ValueError as error:
            raise InvalidArgument(f"invalid change {line[:80]!r}: {error}", hint=_HINT) from error
    try:
        return RunConfig.model_validate(config)
    except ValidationError as error:
        raise InvalidArgument(f"invalid changes: {error.errors()[0]['msg']}") from error


def _lines(changes: Iterable[str]) -> Iterable[str]:
    for change in changes:
        whole = ""
        for line in change.splitlines():
            if line.lstrip().startswith("#"):
                continue
            if line.rstrip().endswith("\\"):
                whole += line.rstrip()[:-1]
                continue
            if text := (whole + line).strip():
                yield text
            whole = ""
        if whole.strip():
            yield whole.strip()


def _split(line: str) -> tuple[str, str]:
    word, *rest = line.split(None, 1)
    return word.upper(), rest[0] if rest else ""


# -- instructions -----------------------------------------------------------------------------------------------------


def _cmd(config: _Config, rest: str) -> None:
    config["Cmd"] = _command(config, rest)


def _entrypoint(config: _Config, rest: str) -> None:
    config["Entrypoint"] = _command(config, rest)


def _env(config: _Config, rest: str) -> None:
    pairs = _pairs(config, rest)
    kept = [entry for entry in config.get("Env", []) if entry.partition("=")[0] not in pairs]
    config["Env"] = [*kept, *(f"{key}={value}" for key, value in pairs.items())]


def _label(config: _Config, rest: str) -> None:
    config["Labels"] = {**config.get("Labels", {}), **_pairs(config, rest)}


def _expose(config: _Config, rest: str) -> None:
    ports: dict[str, Any] = dict(config.get("ExposedPorts", {}))
    for word in _words(rest):
        match = _PORT.fullmatch(_expanded(word, config))
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not 0 < first <= last < _MOST_PORTS:
            raise ValueError(f"invalid port {word[:40]!r}")
        ports.update((f"{port}/{(match[3] or 'tcp').lower()}", {}) for port in range(first, last + 1))
    config["ExposedPorts"] = ports


def _volume(config: _Config, rest: str) -> None:
    paths = _list(rest)
    found = paths if paths is not None else [_expanded(word, config) for word in _words(rest)]
    if not found or not all(path.strip() for path in found):
        raise ValueError("a volume must have a path")
    config["Volumes"] = {**config.get("Volumes", {}), **{path: {} for path in found}}


def _user(config: _Config, rest: str) -> None:
    config["User"] = _expanded(rest, config)


def _workdir(config: _Config, rest: str) -> None:
    # A relative path counts from the one before.
    path = posixpath.join("/", config.get("WorkingDir") or "", _expanded(rest, config))
    config["WorkingDir"] = "/" + posixpath.normpath(path).lstrip("/")


def _stopsignal(config: _Config, rest: str) -> None:
    signal = _expanded(rest, config)
    if not re.fullmatch(r"[A-Za-z0-9+-]{1,20}", signal):
        raise ValueError(f"invalid signal {signal[:40]!r}")
    config["StopSignal"] = signal


def _onbuild(config: _Config, rest: str) -> None:
    trigger = _split(rest)[0]
    if trigger in ("ONBUILD", "FROM", "MAINTAINER"):
        raise ValueError(f"{trigger} is not allowed as an ONBUILD trigger")
    config["OnBuild"] = [*config.get("OnBuild", []), rest]


def _healthcheck(config: _Config, rest: str) -> None:
    check: dict[str, Any] = {}
    while match := _OPTION.match(rest):
        name, value = match[1], match[2]
        if name in _CHECK_DURATIONS:
            check[_CHECK_DURATIONS[name]] = _duration(value)
        elif name == "retries" and re.fullmatch(r"\d{1,9}", value, re.ASCII):
            check["Retries"] = int(value)
        else:
            raise ValueError(f"invalid option --{name}={value[:40]}")
        rest = rest[match.end() :]
    kind, command = _split(rest) if rest else ("", "")
    if kind == "NONE" and not command and not check:
        check["Test"] = ["NONE"]
    elif kind == "CMD" and command:
        words = _list(command)
        check["Test"] = ["CMD-SHELL", command] if words is None else ["CMD", *words]
    else:
        raise ValueError("expected NONE, or CMD with a command")
    config["Healthcheck"] = check


_CHECK_DURATIONS = {
    "interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod", "start-interval": "StartInterval",
}  # fmt: skip
_INSTRUCTIONS: Mapping[str, Callable[[_Config, str], None]] = {
    "CMD": _cmd, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose, "HEALTHCHECK": _healthcheck,
    "LABEL": _label, "ONBUILD": _onbuild, "STOPSIGNAL": _stopsignal, "USER": _user, "VOLUME": _volume,
    "WORKDIR": _workdir,
}  # fmt: skip
_HINT = f"instructions are {', '.join(_INSTRUCTIONS)}"


# -- values -----------------------------------------------------------------------------------------------------------


def _list(text: str) -> list[str] | None:
    """A JSON array of strings; None for anything else."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _command(config: _Config, text: str) -> list[str]:
    found = _list(text)
    return [*(config.get("Shell") or _SHELL), text] if found is None else found


def _pairs(config: _Config, text: str) -> dict[str, str]:
    """`KEY=VALUE …`, or the old `KEY VALUE` to the line's end."""
    words = _words(text)
    if "=" not in words[0]:
        if len(words) < 2:
            raise ValueError("expected KEY=VALUE")
        key, value = text.split(None, 1)
        return {key: _expanded(value, config)}
    if any("=" not in word or word.startswith("=") for word in words):
        raise ValueError("expected KEY=VALUE")
    pairs = [word.partition("=") for word in words]
    return {_expanded(key, config): _expanded(value, config) for key, _, value in pairs}


def _words(text: str) -> list[str]:
    """Words apart, their quotes and backslashes still there."""
    words: list[str] = []
    word, quote, at = "", "", 0
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'":
            word += text[at : at + 2]
            at += 2
            continue
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        if char.isspace() and not quote:
            words += [word] if word else []
            word = ""
        else:
            word += char
        at += 1
    if quote:
        raise ValueError(f"a {quote} has no end")
    return [*words, word] if word else words


def _expanded(text: str, config: _Config) -> str:
    """Quotes off, variables in; nothing is put in between single quotes."""
    env = dict(entry.partition("=")[::2] for entry in config.get("Env", []))
    out, quote, at = "", "", 0
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'" and at + 1 < len(text):
            # Between double quotes a backslash is only special before what it can take the meaning from.
            out += text[at + 1] if not quote or text[at + 1] in '"$\\' else text[at : at + 2]
            at += 2
        elif char == quote:
            quote, at = "", at + 1
        elif not quote and char in "'\"":
            quote, at = char, at + 1
        elif char == "$" and quote != "'" and (match := _VARIABLE.match(text, at)):
            out += _variable(match, env)
            at = match.end()
        else:
            out += char
            at += 1
    return out


def _variable(match: re.Match[str], env: Mapping[str, str]) -> str:
    value = env.get(match[1] or match[2], "")
    if match[3] == "-":
        return value or match[4]
    return match[4] if match[3] == "+" and value else "" if match[3] else value


def _duration(text: str) -> int:
    if not _DURATION.fullmatch(text):
        raise ValueError(f"invalid duration {text[:40]!r}")
    return int(sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text)))
