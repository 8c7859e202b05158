"""Values that only docker's flags have; converters as in `corten.values`."""

from __future__ import annotations

from corten.values import csv_fields, integer, is_ip, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip


def swap_size(text: str) -> int:
    """Bytes, or -1 for no limit."""
    return -1 if text == "-1" else size(text)


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
