"""Image verifiers: a directory of programs, as containerd's "bindir" plugin has it (its docs/image-verification.md).

    PROGRAM -name REFERENCE -digest DIGEST -stdin-media-type application/vnd.oci.descriptor.v1+json

gets the descriptor as JSON on standard input, says its reason on standard output, and allows the image by ending with
0. All that are called must allow it. What is in the directory is called, whatever it is: a file that cannot be executed
fails, and a failure is a refusal.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import NamedTuple

from corten_shared.errors import CortenError, DeadlineExceeded, PermissionDenied, Unavailable
from corten_shared.models.oci import Descriptor
from cortend.core.limits import MAX_VERIFIER_OUTPUT
from cortend.core.workers import Workers
from cortend.runtime import process

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/vnd.oci.descriptor.v1+json"
_SHOWN = 1024
_PASSED = ("HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")


class VerifierSettings(NamedTuple):
    """`directory` is empty for none at all; `most` is how many are called, negative for every one; times in seconds."""

    directory: str = ""
    most: int = 10
    timeout: float = 10.0


class DirectoryVerifier:
    """Implements core.verify.ImageVerifier."""

    def __init__(self, settings: VerifierSettings, workers: Workers) -> None:
        self._settings = settings
        self._workers = workers

    def configure(self, settings: VerifierSettings) -> None:
        """Use other settings from the next image on."""
        self._settings = settings

    async def verify(self, name: str, target: Descriptor) -> None:
        """See core.verify."""
        settings = self._settings
        if not settings.directory:
            return
        programs = await self._workers.run(_programs, settings.directory)
        if 0 <= settings.most < len(programs):
            log.warning(
                "some image verifiers are not called",
                extra={"fields": {"bin_dir": settings.directory, "there": len(programs), "called": settings.most}},
            )
            programs = programs[: settings.most]
        for program in programs:
            await _ask(os.path.join(settings.directory, program), program, name, target, settings.timeout)  # noqa: PTH118


def _programs(directory: str) -> list[str]:
    """The names in it, in their order; nothing for a directory that is not there. Raises Unavailable."""
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unavailable(
            f"cannot list the image verifiers in {directory}: {(error.strerror or str(error)).lower()}",
            subject=directory,
            hint="correct image_verifier.bin_dir, or empty it to verify nothing",
        ) from error


async def _ask(path: str, program: str, name: str, target: Descriptor, timeout: float) -> None:
    argv = [path, "-name", name, "-digest", target.digest, "-stdin-media-type", MEDIA_TYPE]
    given = json.dumps(target.dump(), separators=(",", ":")).encode() + b"\n"
    try:
        # One byte more than is looked at tells that there was more.
        done = await process.run(argv, timeout=timeout, env=_environment(), input=given, limit=MAX_VERIFIER_OUTPUT + 1)
    except (Unavailable, DeadlineExceeded) as error:
        raise _no_judgement(name, target, program, error.message) from error
    for line in done.stderr[:MAX_VERIFIER_OUTPUT].splitlines():
        log.debug("image verifier: %s", _shown(line), extra={"fields": {"verifier": program}})
    reason = _shown(done.stdout[:MAX_VERIFIER_OUTPUT].strip())
    if len(done.stdout) > MAX_VERIFIER_OUTPUT:
        reason += "(stdout truncated)"
    if done.code < 0:
        raise _no_judgement(name, target, program, f"it was ended by signal {-done.code}")
    if done.code:
        raise PermissionDenied(
            f"image verifier blocked {name} with digest {target.digest}: verifier {program} rejected image "
            f"(exit code {done.code}): {reason}",
            subject=name,
        )
    log.info("image verifier allows", extra={"fields": {"image": name, "verifier": program, "reason": reason}})


def _no_judgement(name: str, target: Descriptor, program: str, problem: str) -> CortenError:
    return Unavailable(
        f"image verifier blocked {name} with digest {target.digest}: verifier {program} gave no judgement: {problem}",
        subject=name,
        hint="everything in image_verifier.bin_dir must be an executable verifier",
    )


def _environment() -> Mapping[str, str]:
    """Verifiers ask key servers and registries: they get the way there, and nothing else of the daemon's own."""
    return {**process.ENVIRONMENT, **{key: os.environ[key] for key in _PASSED if key in os.environ}}


def _shown(text: bytes) -> str:
    """A program's words on one line, bounded, with nothing that could move a terminal."""
    words = text[: 4 * _SHOWN].decode(errors="replace").replace("\n", "; ")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    return shown[:_SHOWN] + ("…" if len(shown) > _SHOWN or len(text) > 4 * _SHOWN else "")
