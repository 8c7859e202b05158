"""`changes` of import and commit: Dockerfile instructions that set an image's configuration."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from corten_shared.errors import InvalidArgument
from corten_shared.models.oci import RunConfig
from cortend.api.docker.translate_ports import exposed_ports

_MAX_CHANGES = 256


def apply_changes(changes: Iterable[str], base: RunConfig | None = None) -> RunConfig:
    """`base` (default: an empty one) with the instructions applied; raises InvalidArgument naming the instruction."""
    config: dict[str, Any] = (base or RunConfig()).model_dump(by_alias=True, exclude_none=True)
    lines = [line.strip() for change in changes for line in change.splitlines() if line.strip()]
    if len(lines) > _MAX_CHANGES:
        raise InvalidArgument(f"more than {_MAX_CHANGES} changes")
    for line in lines:
        word, _, rest = line.partition(" ")
        try:
            _apply(config, word.upper(), rest.strip())
        except ValueError as error:
            raise InvalidArgument(f"invalid change {line[:80]!r}: {error}") from error
    try:
        return RunConfig.model_validate(config)
    except ValidationError as error:
        raise InvalidArgument(f"invalid changes: {error.errors()[0]['msg']}") from error


def _apply(config: dict[str, Any], word: str, rest: str) -> None:
    if not rest:
        raise ValueError("it says nothing")
    match word:
        case "CMD" | "ENTRYPOINT":
            config[word.capitalize()] = _command(rest)
        case "ENV":
            _set_env(config, _pairs(rest))
        case "LABEL":
            config["Labels"] = {**config.get("Labels", {}), **_pairs(rest)}
        case "EXPOSE":
            ports = exposed_ports(rest.split(), ())
            config["ExposedPorts"] = {**config.get("ExposedPorts", {}), **{port: {} for port in ports}}
        case "VOLUME":
            paths = _list(rest) or rest.split()
            config["Volumes"] = {**config.get("Volumes", {}), **{path: {} for path in paths}}
        case "USER":
            config["User"] = rest
        case "WORKDIR":
            config["WorkingDir"] = rest
        case "STOPSIGNAL":
            config["StopSignal"] = rest
        case "ONBUILD":
            config["OnBuild"] = [*config.get("OnBuild", []), rest]
        case _:
            raise ValueError(f"{word[:40]} is not a valid change command")


def _list(text: str) -> list[str] | None:
    """A JSON array of strings; None for anything else."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _command(text: str) -> list[str]:
    found = _list(text)
    return ["/bin/sh", "-c", text] if found is None else found


def _pairs(text: str) -> dict[str, str]:
    """`KEY=VALUE …` with shell quoting, or the old `KEY VALUE`."""
    if re.match(r"[^\s=]+\s", text):
        key, _, value = text.partition(" ")
        return {key: value.strip()}
    words = shlex.split(text)
    if any("=" not in word or word.startswith("=") for word in words):
        raise ValueError("expected KEY=VALUE")
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _set_env(config: dict[str, Any], pairs: dict[str, str]) -> None:
    kept = [entry for entry in config.get("Env", []) if entry.partition("=")[0] not in pairs]
    config["Env"] = [*kept, *(f"{key}={value}" for key, value in pairs.items())]
