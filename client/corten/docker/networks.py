"""Networks of a new container: `--network` in both its forms, and the flags that go with it."""

from __future__ import annotations

from corten import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.flags import Options

_BUILT_IN = ("default", "bridge", "host", "none", "nat")


class Attachment:
    """One `--network`: its name and what the endpoint in it shall have."""

    __slots__ = ("aliases", "driver_opts", "ipv4", "ipv6", "link_local", "links", "mac", "name", "priority")

    def __init__(self, name: str) -> None:
        self.name = name
        self.aliases: list[str] = []
        self.links: list[str] = []
        self.link_local: list[str] = []
        self.driver_opts: dict[str, str] = {}
        self.ipv4 = self.ipv6 = self.mac = ""
        self.priority = 0

    def is_user_defined(self) -> bool:
        """Whether it is a network that someone created (only these have names and addresses)."""
        return self.name not in _BUILT_IN and not self.name.startswith("container:")

    def is_described(self) -> bool:
        """Whether anything is asked of the endpoint."""
        texts = (self.ipv4, self.ipv6, self.mac)
        lists = (self.aliases, self.links, self.link_local, self.driver_opts)
        return any(texts) or any(lists) or self.priority != 0

    def endpoint(self) -> dict[str, Any]:
        """The API's EndpointSettings, with every member, as docker sends it."""
        ipam: dict[str, Any] = {}
        if self.ipv4:
            ipam["IPv4Address"] = self.ipv4
        if self.ipv6:
            ipam["IPv6Address"] = self.ipv6
        if self.link_local:
            ipam["LinkLocalIPs"] = self.link_local
        return {
            "IPAMConfig": ipam or None, "Links": self.links or None, "Aliases": self.aliases or None,
            "MacAddress": self.mac, "DriverOpts": self.driver_opts or None, "GwPriority": self.priority,
            "NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0,
            "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": None,
        }  # fmt: skip


def parse_attachment(text: str) -> Attachment:
    """`name`, or `name=x,alias=y,ip=..,driver-opt=k=v,..`; raises ValueError."""
    if "=" not in text:
        return Attachment(text)
    attachment = Attachment("")
    for field in values.csv_fields(text):
        key, equals, value = field.strip().partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals or not key:
            raise ValueError(f"invalid key/value pair format in advanced network: {field}")
        _apply(attachment, key, value)
    if not attachment.name:
        raise ValueError("network name/id is not specified")
    return attachment


def _apply(attachment: Attachment, key: str, value: str) -> None:
    if key == "name":
        attachment.name = value
    elif key == "alias":
        attachment.aliases.append(value)
    elif key == "driver-opt":
        name, equals, content = value.partition("=")
        if not equals or not name:
            raise ValueError("invalid key value pair format in driver options")
        attachment.driver_opts[name.strip().lower()] = content.strip()
    elif key == "ip":
        attachment.ipv4 = value
    elif key == "ip6":
        attachment.ipv6 = value
    elif key == "mac-address":
        attachment.mac = value
    elif key == "link-local-ip":
        attachment.link_local.append(value)
    elif key == "gw-priority":
        attachment.priority = values.integer(value)
    else:
        raise ValueError(f"invalid field key {key}")


def networking(options: Options) -> tuple[str, dict[str, Any]]:
    """(NetworkMode, EndpointsConfig) of a new container; raises ValueError for what contradicts."""
    attachments: list[Attachment] = options["network"] or [Attachment("default")]
    if len(attachments) > 1:
        for other in attachments[1:]:
            if not other.is_user_defined():
                problem = "cannot attach both user-defined and non-user-defined network-modes"
                raise ValueError(f"conflicting options: {problem}")
    endpoints: dict[str, Any] = {}
    for at, attachment in enumerate(attachments):
        if at == 0:
            _add_flags(attachment, options)
        if attachment.aliases and not attachment.is_user_defined():
            raise ValueError("network-scoped aliases are only supported for user-defined networks")
        if attachment.name in endpoints:
            problem = f'cannot attach to network "{attachment.name}" more than once'
            raise ValueError(f"conflicting options: {problem}")
        if attachment.name == "default" or attachment.is_user_defined() or attachment.is_described():
            endpoints[attachment.name] = attachment.endpoint()
    return attachments[0].name, endpoints


def _add_flags(first: Attachment, options: Options) -> None:
    """The older flags (`--ip`, `--network-alias`, ..) describe the first network."""
    per_network: dict[str, object] = {
        "network-alias": first.aliases, "ip": first.ipv4, "ip6": first.ipv6,
        "mac-address": first.mac, "link-local-ip": first.link_local, "link": first.links,
    }  # fmt: skip
    for flag, own in per_network.items():
        if options[flag] and own:
            raise ValueError(f"conflicting options: cannot specify both --{flag} and per-network {flag}")
    first.aliases = first.aliases or options["network-alias"]
    first.ipv4 = first.ipv4 or options["ip"]
    first.ipv6 = first.ipv6 or options["ip6"]
    first.mac = first.mac or options["mac-address"]
    first.link_local = first.link_local or options["link-local-ip"]
    if first.is_user_defined():
        first.links = first.links or options["link"]
