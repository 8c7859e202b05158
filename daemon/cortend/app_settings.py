"""The composition root's part that reads the configuration: the settings of each part out of it."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path

from cortend.config import Config
from cortend.linux.files import write_durably
from cortend.registry.settings import RegistryHost, RegistrySettings, UploadSettings
from cortend.runtime.verifier import VerifierSettings
from cortend.services.collect import CollectSettings
from cortend.services.log_options import LogDefaults
from cortend.services.logfiles import LogLimits

_INIT_PROGRAMS = ("docker-init", "catatonit", "tini-static", "tini")


def collect_settings(config: Config) -> CollectSettings:
    """When garbage is collected, out of the configuration."""
    return CollectSettings(**config.gc.model_dump())


def registry_settings(config: Config) -> RegistrySettings:
    """The registry client's settings out of the configuration."""
    return RegistrySettings(
        directory=config.registry.config_path,
        hosts={
            domain: RegistryHost(host.plain_http, host.insecure_skip_verify, host.ca_file)
            for domain, host in config.registries.items()
        },
        connect_timeout=config.pull.connect_timeout,
        header_timeout=config.pull.header_timeout,
        idle_timeout=config.pull.idle_timeout,
        upload=UploadSettings(config.push.chunk_size, config.push.max_upload_attempts),
    )


def log_defaults(config: Config) -> LogDefaults:
    """What containers log to when they are made without a word about it."""
    logs = config.logs
    return LogDefaults(logs.driver, LogLimits(logs.max_size, logs.max_files), logs.options)


def verifier_settings(config: Config) -> VerifierSettings:
    """The image verifiers' settings out of the configuration."""
    given = config.image_verifier
    return VerifierSettings(given.bin_dir, given.max_verifiers, given.per_verifier_timeout)


def find_init(config: Config) -> str:
    """The program for `--init`: as configured, else the first of the usual ones; empty when there is none."""
    if config.runtime.init:
        return config.runtime.init
    return next((path for name in _INIT_PROGRAMS if (path := shutil.which(name))), "")


def engine_id(root: Path) -> str:
    """A random id that stays with the data root (docker's `info` shows one)."""
    path = root / "engine-id"
    with contextlib.suppress(FileNotFoundError):
        if found := path.read_text().strip():
            return found
    text = str(uuid.uuid4())
    write_durably(path, f"{text}\n".encode(), 0o644)
    return text
