"""From the text of a flag to its value, with docker's grammar and docker's words for what is wrong.

Every converter takes the text and returns the value, or raises ValueError with the reason; the
flag parser adds which flag it was.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_SIZES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATIONS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip


def boolean(text: str) -> bool:
    """A Go boolean (strconv.ParseBool)."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def integer(text: str) -> int:
    """A signed 64-bit number."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text) if len(text) < 25 else 1 << 64
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def unsigned16(text: str) -> int:
    """A number of 0 to 65535."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if len(text) > 5 or int(text) > 0xFFFF:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def size(text: str) -> int:
    """Bytes with binary units: `64m`, `1.5g`, `512KiB`."""
    number = text.rstrip("bBiIkKmMgGtTpP ")
    suffix = text[len(number) :].strip().lower()
    try:
        if not number or number[0] not in "0123456789." or "_" in number:
            raise ValueError
        value = float(number)
    except ValueError:
        raise ValueError(_size_problem(text)) from None
    unit = suffix[:1] if suffix[:1] != "b" else ""
    if suffix[len(unit) :] not in ("", "b", "ib") or (not unit and suffix not in ("", "b")):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(value * 1024 ** _SIZES[unit])


def _size_problem(text: str) -> str:
    last_digit = max((at for at, char in enumerate(text) if char.isdigit()), default=-1)
    tail = text[last_digit + 1 :]
    if last_digit >= 0 and text[0].isdigit() and tail:
        return f"invalid suffix: '{tail.strip()}'"
    return f"invalid size: '{text}'"


def swap_size(text: str) -> int:
    """Bytes, or -1 for no limit."""
    return -1 if text == "-1" else size(text)


def nano_cpus(text: str) -> int:
    """CPUs as billionths: `1.5` is 1500000000."""
    whole, _, fraction = text.partition(".")
    digits = whole.lstrip("+-") + fraction
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 30:
        raise ValueError(f"failed to parse {text} as a rational number")
    if len(fraction.rstrip("0")) > 9:
        raise ValueError("value is too precise")
    value = int(whole.lstrip("+-") or "0") * 10**9 + int(fraction[:9].ljust(9, "0"))
    return -value if whole.startswith("-") else value


def duration(text: str) -> int:
    """A Go duration in nanoseconds: `1m30s`, `500ms`."""
    rest, sign = (text[1:], -1 if text[0] == "-" else 1) if text[:1] in ("+", "-") else (text, 1)
    total, at = 0.0, 0
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    while at < len(rest):
        start = at
        while at < len(rest) and (rest[at].isdigit() or rest[at] == "."):
            at += 1
        number, start = rest[start:at], at
        while at < len(rest) and not (rest[at].isdigit() or rest[at] == "."):
            at += 1
        unit = rest[start:at]
        if number.strip(".") == "" or number.count(".") > 1 or not number.isascii():
            raise ValueError(f'time: invalid duration "{text}"')
        if unit not in _DURATIONS:
            problem = f'unknown unit "{unit}"' if unit else "missing unit"
            raise ValueError(f'time: {problem} in duration "{text}"')
        total += float(number) * _DURATIONS[unit]
    return sign * int(total)


def stream(text: str) -> str:
    """One of stdin, stdout, stderr, in any case."""
    if text.lower() in ("stdin", "stdout", "stderr"):
        return text.lower()
    raise ValueError("valid streams are STDIN, STDOUT and STDERR")


def environment(text: str) -> str:
    """`NAME=value`, or `NAME` which takes its value from here, if it has one here."""
    import os

    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if not equals and (value := os.environ.get(name)) is not None:
        return f"{name}={value}"
    return text


def ip_address(text: str) -> str:
    """An IPv4 or IPv6 address, as given."""
    if not is_ip(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text.strip()


def is_ip(text: str) -> bool:
    """Whether `text` is an address without a zone."""
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def extra_host(text: str) -> str:
    """`name:address` for the hosts file, from `name:address`, `name=address`, `name:[address]`."""
    cut = text.find("=") if "=" in text else text.find(":")
    if cut <= 0:
        raise ValueError(f'bad format for add-host: "{text}"')
    name, address = text[:cut], text[cut + 1 :]
    if len(address) > 2 and address[0] == "[" and address[-1] == "]":
        address = address[1:-1]
    if address != "host-gateway" and not is_ip(address):
        raise ValueError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def search_domain(text: str) -> str:
    """A DNS search domain, or `.` for none."""
    domain = text.strip(" ")
    labels = domain.rstrip(".").split(".")
    fits = all(label and label.replace("-", "a").replace("_", "a").isalnum() for label in labels)
    if domain != "." and (not fits or len(domain) > 255):
        raise ValueError(f"{text} is not a valid domain")
    return domain


def label(text: str) -> str:
    """`key` or `key=value` with a key that is not empty."""
    key = text.partition("=")[0]
    if not key.strip():
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def link(text: str) -> str:
    """`container` or `container:alias`."""
    if not text or len(text.split(":")) > 2:
        raise ValueError(f"bad format for links: {text}" if text else "empty string specified for links")
    return text


def sysctl(text: str) -> str:
    """`key=value`."""
    if "=" not in text:
        raise ValueError(f"sysctl '{text}' is not allowed")
    return text


def ulimit(text: str) -> dict[str, Any]:
    """`name=soft[:hard]` as the API's object; -1 is unlimited."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    soft_text, colon, hard_text = limits.partition(":")
    soft = integer(soft_text)
    hard = integer(hard_text) if colon else soft
    if hard != -1 and (soft > hard or soft == -1):
        found = f"{soft} > {hard}" if soft != -1 else f"soft: -1 (unlimited), hard: {hard}"
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {found}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def csv_fields(text: str) -> list[str]:
    """One CSV record (RFC 4180 quoting, as Go's reader takes it)."""
    if '"' not in text:
        return text.split(",")
    import csv

    return next(csv.reader([text], strict=True), [])


def device_rate(text: str) -> dict[str, Any]:
    """`/dev/path:rate` with a size, for bytes a second."""
    path, rate = _device(text)
    try:
        return {"Path": path, "Rate": size(rate)}
    except ValueError:
        raise ValueError(_bad_rate(text, "<device-path>:<number>[<unit>]", "Unit is optional")) from None


def device_operations(text: str) -> dict[str, Any]:
    """`/dev/path:rate`, for operations a second."""
    path, rate = _device(text)
    if not (rate.isascii() and rate.isdigit()):
        raise ValueError(_bad_rate(text, "<device-path>:<number>", "Number must be a positive integer"))
    return {"Path": path, "Rate": int(rate)}


def device_weight(text: str) -> dict[str, Any]:
    """`/dev/path:weight`, 10 to 1000, or 0."""
    path, weight = _device(text)
    if not (weight.isascii() and weight.isdigit()) or (int(weight) and not 10 <= int(weight) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(weight)}


def _device(text: str) -> tuple[str, str]:
    path, colon, rate = text.partition(":")
    if not colon or not path or ":" in rate:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, rate


def _bad_rate(text: str, form: str, note: str) -> str:
    return f"invalid rate for device: {text}. The correct format is {form}. {note}"


def gpus(text: str) -> dict[str, Any]:
    """`all`, a count, or `device=..,driver=..,capabilities=..` as the API's device request."""
    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": None, "Capabilities": [["gpu"]]}
    request["Options"] = {}
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        if not equals:
            key, value = "count", field
        if key == "count":
            request["Count"] = -1 if value == "all" else integer(value)
        elif key == "driver":
            request["Driver"] = value
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        elif key == "options":
            request["Options"] = dict(pair.partition("=")[::2] for pair in value.split(","))
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    return request
