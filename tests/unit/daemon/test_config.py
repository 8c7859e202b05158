"""The configuration: defaults, errors by line, and what changes in a running daemon."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from corten_shared.errors import InvalidArgument, NotFound, ResourceExhausted
from cortend import config_file
from cortend.config import LIVE, Config, changed_keys, is_live, with_live_keys
from cortend.config_file import default_text, load, parse

PATH = Path("/etc/corten/config.toml")


def test_default_text_parses_back_to_the_defaults() -> None:
    assert parse(default_text(), PATH) == Config()


def test_default_text_has_every_key_with_an_explanation() -> None:
    shown = tomllib.loads(default_text())
    empty = {"registries": True, "runtime": {"runtimes"}, "logs": {"options"}}
    expected = Config().model_dump(mode="json", exclude=empty)
    assert shown == expected
    lines = default_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if " = " in line and not line.startswith("#"):
            assert before.startswith("# "), line


def test_examples_in_the_default_text_are_valid_too() -> None:
    """A user removes the comment signs, and it works."""
    example = [
        line.removeprefix("# ")
        for line in default_text().splitlines()
        if line.startswith(('# [registries."', "# plain_http", "# insecure", "# ca_file"))
    ]
    assert parse("\n".join(example), PATH).registries["example"].plain_http is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[network]\n\nbrige = "x"', ":3: unknown key 'network.brige' (did you mean 'bridge'?)"),
        ("zzz = 1", ":1: unknown key 'zzz'"),
        ('# a\n\n# b\nroot = 3\n', ":4: 'root': must be an absolute path"),
        ('root = "relative"', ":1: 'root': must be an absolute path"),
        ("log = 3", ":1: 'log': must be a table"),
        ('[log]\nlevel = "loud"', ":2: 'log.level': input should be 'debug', 'info', 'warning' or 'error'"),
        ('[containers]\nstop_timeout = "10"', ":2: 'containers.stop_timeout': input should be a valid integer"),
        ("[containers]\nstop_timeout = true", ":2: 'containers.stop_timeout': input should be a valid integer"),
        ('[network]\nmtu = 1\ndns = [\n  "1.1.1.1",\n  "x",\n]\n', ":2: 'network.mtu': input should be greater"),
        ('[network]\n\ndns = [\n  "1.1.1.1",\n  "x",\n]\n', ":3: 'network.dns': must be IP addresses, not 'x'"),
        ('[network]\nsubnet = "10.0.0.1/16"', ":2: 'network.subnet': must be an IPv4 network"),
        ('[network]\nbridge = "much-too-long-name"', ":2: 'network.bridge': must be an interface name"),
        ('[registries."r:5"]\nplain_htp = true', ":2: unknown key 'registries.r:5.plain_htp' (did you mean 'plain_http'?)"),  # noqa: E501
        ("[pull.limits]\n\nlayer_size = 0", ":3: 'pull.limits.layer_size': input should be greater than or equal to 1"),
        ("a = 1\nb = 2", ":1: unknown key 'a' (and 1 more)"),
        ("[gc\n", "(at line 1, column 4)"),
    ],
)  # fmt: skip
def test_errors_name_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(text, PATH)
    assert str(caught.value).startswith("/etc/corten/config.toml:")
    assert message in str(caught.value)


def test_missing_file_is_fine_unless_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "DEFAULT_PATH", tmp_path / "none.toml")
    assert load() == Config()
    with pytest.raises(NotFound, match="no such file"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("data", "error"), [(b"\xff\xfe", InvalidArgument), (b"#" * (config_file.MAX_SIZE + 1), ResourceExhausted)]
)
def test_files_that_are_no_configuration_are_refused(tmp_path: Path, data: bytes, error: type[Exception]) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(data)
    with pytest.raises(error, match=str(path)):
        load(path)


def test_values_never_change() -> None:
    with pytest.raises(ValidationError):
        Config().network.mtu = 1  # type: ignore[misc]


def test_flags_win_and_another_state_root_moves_the_socket_along() -> None:
    config = Config().with_flags(state=Path("/s"), level="debug")
    assert config.api.socket == Path("/s/corten.sock")
    assert config.log.level == "debug"
    assert Config().with_flags(state=Path("/s"), socket=Path("/x")).api.socket == Path("/x")


def test_changes_are_named_and_split_into_live_and_fixed() -> None:
    old = Config()
    new = parse('root = "/r"\n[log]\nlevel = "debug"\n[registries.x]\nplain_http = true\n[network]\nmtu = 1400\n', PATH)
    changes = changed_keys(old, new)
    assert {"root", "log.level", "network.mtu", "registries.x.plain_http"} <= set(changes)
    assert {key for key in changes if not is_live(key)} == {"root", "network.mtu"}
    assert changed_keys(new, new) == []


def test_reload_takes_live_keys_and_nothing_else() -> None:
    wanted = parse('root = "/r"\n[log]\nlevel = "debug"\n[registries.x]\nplain_http = true\n', PATH)
    merged = with_live_keys(Config(), wanted)
    assert merged.root == Config().root
    assert merged.log.level == "debug"
    assert merged.registries["x"].plain_http
    assert with_live_keys(merged, Config()) == Config()


def test_live_keys_exist() -> None:
    """A renamed key must not silently stop being live."""
    for key in LIVE:
        value: object = Config()
        for part in key.split("."):
            value = getattr(value, part)
