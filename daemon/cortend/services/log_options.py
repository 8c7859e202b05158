"""Log drivers and their options: what docker's names mean here (pure).

`json-file` and `local` are one thing: conmon's file, which is there whatever the driver is (but `none`), so that `logs`
reads any container. `syslog` and `journald` get a copy from it (`services.log_shipping`). Options that say how a
driver may block (`mode`, `max-buffer-size`) are taken and mean nothing: no container ever waits for its log here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerRecord, LogSpec
from cortend.services.logfiles import LogLimits

OWN = ("json-file", "local")
SHIPPED = ("syslog", "journald")
DRIVERS = (*OWN, *SHIPPED, "none")

TAG_FIELDS = ("ID", "FullID", "Name", "ImageName", "ImageID", "ImageFullID", "DaemonName", "Command")
"""What `--log-opt tag` may name, as in `{{.Name}}`."""

_COMMON = frozenset({"mode", "max-buffer-size", "labels", "labels-regex", "env", "env-regex", "tag"})
_FILES = frozenset({"max-size", "max-file", "compress"})
_SYSLOG = frozenset(
    {f"syslog-{name}" for name in ("address", "facility", "format")}
    | {f"syslog-tls-{name}" for name in ("ca-cert", "cert", "key", "skip-verify")}
)
_KNOWN: dict[str, frozenset[str]] = {
    "json-file": _COMMON | _FILES,
    "local": _COMMON | _FILES,
    "syslog": _COMMON | _FILES | _SYSLOG,
    "journald": _COMMON | _FILES,
    "none": frozenset(),
}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s?([kmgtp]?)(i?b?)\Z", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


class LogDefaults(NamedTuple):
    """What the configuration says: the driver, and options for containers that name none."""

    driver: str = "json-file"
    limits: LogLimits = LogLimits(10_000_000, 3)
    options: Mapping[str, str] = {}


def checked(spec: LogSpec, defaults: LogDefaults) -> LogSpec:
    """The log of a new container, defaults filled in; raises InvalidArgument in docker's words.

    As docker's, the configuration's options are for its own driver only.
    """
    driver = spec.driver or defaults.driver
    if driver not in DRIVERS:
        raise InvalidArgument(
            f"logger: no log driver named '{driver[:40]}' is registered", hint=f"drivers are {', '.join(DRIVERS)}"
        )
    for name in spec.options:
        if name not in _KNOWN[driver]:
            raise InvalidArgument(
                f"unknown log opt '{name[:80]}' for {driver} log driver",
                hint=f"there are: {', '.join(sorted(_KNOWN[driver])) or 'none'}",
            )
    options = {**defaults.options, **spec.options} if driver == defaults.driver else dict(spec.options)
    made = LogSpec(driver=driver, options=options)
    limits_of(made, defaults)
    rendered_tag(made, dict.fromkeys(TAG_FIELDS, ""))
    attributes(made, {}, [])
    return made


def limits_of(spec: LogSpec, defaults: LogDefaults) -> LogLimits:
    """How large the files become and how many there are; raises InvalidArgument."""
    size, files = defaults.limits
    if text := spec.options.get("max-size"):
        size = max(0, _bytes(text))
    if text := spec.options.get("max-file"):
        if not re.fullmatch(r"-?\d{1,9}", text):
            raise InvalidArgument(f"invalid max-file {text[:40]!r}", hint="a number of files, as in max-file=3")
        files = int(text)
        if files < 1:
            raise InvalidArgument("max-file cannot be less than 1")
    return LogLimits(size, files)


def _bytes(text: str) -> int:
    """docker's sizes: `10m` is ten million, -1 no limit."""
    if text == "-1":
        return 0
    match = _SIZE.match(text.strip())
    if match is None:
        raise InvalidArgument(f"invalid size: '{text[:40]}'", hint="a size as in max-size=10m; -1 is no limit")
    return int(float(match[1]) * 1000 ** _POWERS[match[2].lower()])


def attributes(spec: LogSpec, labels: Mapping[str, str], env: list[str]) -> dict[str, str]:
    """What `--log-opt labels` and `env` choose of a container, for `logs --details` and for what is shipped."""
    variables = dict(entry.partition("=")[::2] for entry in env)
    return {
        **_chosen(spec.options, "labels", labels),
        **_chosen(spec.options, "env", variables),
    }


def tag_of(spec: LogSpec, record: ContainerRecord) -> str:
    """What `--log-opt tag` makes of a container; its short id without one."""
    values = {
        "ID": record.id[:12],
        "FullID": record.id,
        "Name": record.name,
        "ImageName": record.image,
        "ImageID": record.image_id.rpartition(":")[2][:12],
        "ImageFullID": record.image_id,
        "DaemonName": "corten",
        "Command": " ".join(record.spec.args),
    }
    return rendered_tag(spec, values)


def rendered_tag(spec: LogSpec, values: Mapping[str, str]) -> str:
    """The tag with these values in its fields; raises InvalidArgument."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            known = ", ".join(f"{{{{.{name}}}}}" for name in TAG_FIELDS)
            raise InvalidArgument(f"unknown field {match[0][:60]!r} in --log-opt tag", hint=f"there are: {known}")
        return values[match[1]]

    text = re.sub(r"\{\{\s*\.(\w*)\s*\}\}", value, spec.options.get("tag") or "{{.ID}}")
    if "{{" in text:
        raise InvalidArgument(f"cannot read --log-opt tag {text[:60]!r}", hint="fields only, as in {{.Name}}")
    return "".join(char if char.isprintable() else "_" for char in text)[:256]


def _chosen(options: Mapping[str, str], name: str, values: Mapping[str, str]) -> dict[str, str]:
    names = [word.strip() for word in options.get(name, "").split(",")]
    found = {key: values[key] for key in names if key in values}
    if pattern := options.get(f"{name}-regex"):
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise InvalidArgument(f"invalid {name}-regex {pattern[:80]!r}: {error}") from error
        found.update({key: value for key, value in values.items() if expression.search(key)})
    return found
