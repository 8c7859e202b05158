"""The directory of registries' hosts: containerd's `hosts.toml`, and docker's certificate files.

    <directory>/<host>[:<port>]/hosts.toml      server, capabilities, ca, client, header, …, [host."https://mirror"]
                                /*.crt          CAs                           } without hosts.toml,
                                /*.cert, *.key  client certificates           } as docker's certs.d
    <directory>/<host>_<port>_/                 the same, for tools that want no colon in a name
    <directory>/_default/                       for every registry without a directory of its own

The specification is containerd's docs/hosts.md. Files are read anew for every fetcher, so a change is in force at the
next pull. Where containerd passes over a broken file in silence and asks the registry itself, we say what is wrong: a
mirror that somebody configured must not be bypassed because of a typing error.
"""

from __future__ import annotations

import difflib
import os
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from corten_shared.errors import Unavailable
from cortend.core.limits import MAX_HOSTS_FILE
from cortend.registry.problems import quoted
from cortend.registry.settings import CAPABILITIES, Endpoint, RegistrySettings, is_loopback

_DEFAULT = "_default"
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]{0,8192}\Z")


def endpoints(settings: RegistrySettings, domain: str) -> list[Endpoint]:
    """The addresses that have the content of `domain`, in the order to try them; the registry itself is the last.

    Raises Unavailable, which names the file and the key, for a configuration that cannot be used.
    """
    own = settings.endpoint(domain)
    place = _find(settings, domain)
    if place is None:
        found = [own]
    elif (data := _read(place / "hosts.toml", domain)).strip():
        found = _File(place / "hosts.toml", domain).endpoints(data, own)
    else:
        found = _http_last(_with_certificates(place, domain, own))
    if found[-1] == own and domain not in settings.hosts and is_loopback(domain):
        # On this machine nobody listens in: whichever protocol it turns out to speak is good (as in docker).
        found.append(own._replace(url=own.url.replace("http:", "https:", 1), skip_verify=True, fallback=True))
    return found


def insecure(directory: str) -> Iterator[str]:
    """Domains whose own endpoint is spoken to without a checked certificate, for `info`. Broken files are not."""
    try:
        names = sorted(os.listdir(directory))[:1000] if directory else []
    except OSError:
        return
    for name in names:
        domain = re.sub(r"_(\d+)_\Z", r":\1", name)
        try:
            found = endpoints(RegistrySettings(directory=directory), domain)
        except Unavailable:
            continue
        if name != _DEFAULT and any(e.own and (e.skip_verify or e.url.startswith("http://")) for e in found):
            yield domain


def _find(settings: RegistrySettings, domain: str) -> Path | None:
    """The directory of `domain`. What config.toml says of it comes before the directory for all others."""
    if not settings.directory:
        return None
    host, port = _split_port(domain)
    names = [f"{host}_{port}_", domain] if port else [domain]
    if domain not in settings.hosts:
        names.append(_DEFAULT)
    for name in names:
        place = Path(settings.directory) / name
        try:
            if place.is_dir():
                return place
        except OSError as error:
            raise _unreadable(place, domain, error) from error
    return None


def _split_port(domain: str) -> tuple[str, str]:
    host, colon, port = domain.rpartition(":")
    return (host, port) if colon and not port.endswith("]") else (domain, "")


def _read(path: Path, domain: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_HOSTS_FILE + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _unreadable(path, domain, error) from error
    if len(data) > MAX_HOSTS_FILE:
        raise _wrong(path, domain, f"longer than {MAX_HOSTS_FILE} bytes")
    return data


def _with_certificates(place: Path, domain: str, own: Endpoint) -> Endpoint:
    """The registry itself with docker's certificate files."""
    try:
        with os.scandir(place) as entries:
            names = sorted(entry.name for entry in entries if not entry.is_dir())
    except OSError as error:
        raise _unreadable(place, domain, error) from error
    ca = tuple(str(place / name) for name in names if name.endswith(".crt"))
    client = []
    for name in names:
        if name.endswith(".cert"):
            key = f"{name.removesuffix('.cert')}.key"
            client.append((str(place / name), str(place / key) if key in names else ""))
    return own._replace(ca=own.ca + ca, client=tuple(client))


def _http_last(endpoint: Endpoint) -> list[Endpoint]:
    """A plain HTTP address that has TLS settings is meant to be HTTPS, if it can; as containerd has it."""
    url = httpx.URL(endpoint.url)
    if url.scheme != "http" or url.port == 80 or not (endpoint.ca or endpoint.client or endpoint.skip_verify):
        return [endpoint]
    if url.port is None:  # 80
        return [endpoint]
    return [endpoint._replace(url=str(url.copy_with(scheme="https"))), endpoint._replace(fallback=True)]


class _File:
    """One hosts.toml."""

    def __init__(self, path: Path, domain: str) -> None:
        self._path = path
        self._domain = domain
        self._readers: dict[str, Callable[[str, Any], dict[str, Any]]] = {
            "capabilities": self._capabilities,
            "ca": self._ca,
            "client": self._client,
            "header": self._header,
            "skip_verify": self._skip_verify,
            "override_path": self._override_path,
            "dial_timeout": self._dial_timeout,
            "proxy": self._proxy,
        }

    def endpoints(self, data: bytes, own: Endpoint) -> list[Endpoint]:
        """Mirrors in their order, then the registry itself."""
        try:
            root = tomllib.loads(data.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._bad("", quoted(error)) from error
        hosts = root.pop("host", {})
        if not isinstance(hosts, dict):
            raise self._bad("host", "must be tables, as in [host.\"https://mirror.local\"]")
        found: list[Endpoint] = []
        for address, table in hosts.items():
            key = f'host."{address}"'
            if not isinstance(table, dict):
                raise self._bad(key, "must be a table")
            found += self._mirror(key, address, table)
        return found + self._server(root, own)

    def _mirror(self, key: str, address: str, table: dict[str, Any]) -> list[Endpoint]:
        given = self._fields(f"{key}.", table)
        override = given.pop("override_path", False)
        return _http_last(Endpoint(self._url(key, address, override), own=False, **given))

    def _server(self, root: dict[str, Any], own: Endpoint) -> list[Endpoint]:
        server = root.pop("server", "")
        if not isinstance(server, str):
            raise self._bad("server", "must be a string")
        given = self._fields("", root)
        override = given.pop("override_path", False)
        if not server:
            given.pop("capabilities", None)  # containerd's: the registry itself can everything
            return _http_last(own._replace(**given))
        url = self._url("server", server, override)
        # A login for a registry goes to what its own directory says is its server, not to what stands in for many.
        mine = self._path.parent.name != _DEFAULT or _address(url) == _address(own.url)
        return _http_last(Endpoint(url, own=mine, **given))

    def _fields(self, prefix: str, table: dict[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for key, value in table.items():
            reader = self._readers.get(key)
            if reader is None:
                close = difflib.get_close_matches(key, (*self._readers, "server"), n=1)
                guess = f" (did you mean '{close[0]}'?)" if close else ""
                raise self._bad(prefix + key, f"unknown key{guess}")
            fields.update(reader(prefix + key, value))
        return fields

    def _url(self, key: str, text: str, override: bool) -> str:
        address = text if "://" in text else f"https://{text}"
        try:
            url = httpx.URL(address)
        except (httpx.InvalidURL, ValueError):
            raise self._bad(key, f"is no address: {quoted(text)}") from None
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
            raise self._bad(key, "must be http:// or https://, a host, and maybe a path, without user and query")
        path = posixpath.normpath(url.path).rstrip("/") if url.path.strip("/") else ""
        if not override and not path.endswith("/v2"):
            path += "/v2"
        return f"{url.scheme}://{url.netloc.decode('ascii')}{path}"

    # -- keys ------------------------------------------------------------------------------------------------------

    def _capabilities(self, key: str, value: Any) -> dict[str, Any]:
        names = frozenset(name.lower() for name in self._strings(key, value))
        if unknown := names - CAPABILITIES:
            raise self._bad(key, f"must be of {', '.join(sorted(CAPABILITIES))}, not {quoted(min(unknown))}")
        return {"capabilities": names or CAPABILITIES}

    def _ca(self, key: str, value: Any) -> dict[str, Any]:
        files = [value] if isinstance(value, str) else value
        return {"ca": tuple(self._file(name) for name in self._strings(key, files))}

    def _client(self, key: str, value: Any) -> dict[str, Any]:
        pairs: list[tuple[str, str]] = []
        for item in [value] if isinstance(value, str) else value if isinstance(value, list) else [None]:
            match item:
                case str():
                    pairs.append((self._file(item), ""))
                case [str(certificate), str(private)]:
                    pairs.append((self._file(certificate), self._file(private) if private else ""))
                case _:
                    raise self._bad(key, "must be a path, a list of paths, or a list of [certificate, key]")
        return {"client": tuple(pairs)}

    def _header(self, key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._bad(key, "must be a table of strings or lists of strings")
        headers: list[tuple[str, str]] = []
        for name, given in value.items():
            if not _HEADER_NAME.match(name):
                raise self._bad(f"{key}.{quoted(name)}", "is no header's name")
            for text in self._strings(f"{key}.{name}", [given] if isinstance(given, str) else given):
                if not _HEADER_VALUE.match(text):  # not shown: it may be a secret
                    raise self._bad(f"{key}.{name}", "must be printable ASCII in one line")
                headers.append((name, text))
        return {"headers": tuple(headers)}

    def _skip_verify(self, key: str, value: Any) -> dict[str, Any]:
        return {"skip_verify": self._boolean(key, value)}

    def _override_path(self, key: str, value: Any) -> dict[str, Any]:
        return {"override_path": self._boolean(key, value)}

    def _dial_timeout(self, key: str, value: Any) -> dict[str, Any]:
        seconds = _duration(value) if isinstance(value, str) else None
        if seconds is None:
            raise self._bad(key, 'must be a duration like "1s", "500ms" or "1m30s"')
        return {"timeout": seconds}

    def _proxy(self, key: str, value: Any) -> dict[str, Any]:
        try:
            url = httpx.URL(value if isinstance(value, str) else "")
        except (httpx.InvalidURL, ValueError):
            url = httpx.URL("")
        if url.scheme in ("socks5", "socks5h"):
            raise self._bad(key, "SOCKS proxies are not supported; use http:// or https://")
        if url.scheme not in ("http", "https") or not url.host or url.path not in ("", "/") or url.query:
            raise self._bad(key, 'must be a proxy\'s address like "http://proxy.local:8080"')
        return {"proxy": value}

    def _strings(self, key: str, value: Any) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._bad(key, "must be a string or a list of strings")
        return value

    def _boolean(self, key: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self._bad(key, "must be true or false")
        return value

    def _file(self, name: str) -> str:
        return str(self._path.parent / name)

    def _bad(self, key: str, problem: str) -> Unavailable:
        return _wrong(self._path, self._domain, f"'{key}': {problem}" if key else problem)


def _duration(text: str) -> float | None:
    """Seconds of a duration as Go writes it; None when it is none, or longer than an hour."""
    if not re.fullmatch(rf"(?:{_DURATION.pattern})+", text[:64], re.ASCII):
        return None
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    return seconds if seconds <= 3600 else None


def _address(url: str) -> tuple[str, int | None]:
    parsed = httpx.URL(url)
    return parsed.host, parsed.port or (443 if parsed.scheme == "https" else 80)


def _wrong(path: Path, domain: str, problem: str) -> Unavailable:
    return Unavailable(
        f"{path}: {problem}", subject=domain, hint="correct the file; it is read again for the next request"
    )


def _unreadable(path: Path, domain: str, error: OSError) -> Unavailable:
    return _wrong(path, domain, f"cannot be read: {(error.strerror or str(error)).lower()}")
