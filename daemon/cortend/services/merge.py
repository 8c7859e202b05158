"""Merging a request with its image's defaults, as docker does (pure)."""

from __future__ import annotations

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerSpec, MountSpec
from corten_shared.models.oci import RunConfig
from cortend.services.health_check import merged

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def merge(spec: ContainerSpec, image: RunConfig) -> ContainerSpec:
    """The complete spec of a container: the request, completed from the image.

    A given entrypoint drops the image's command (docker's rule); variables of the request win over
    the image's of the same name. Raises InvalidArgument when nothing says what to run.
    """
    entrypoint, cmd = spec.entrypoint, spec.cmd
    if entrypoint is None:
        cmd = image.cmd if cmd is None or (not cmd and not image.entrypoint) else cmd
        entrypoint = image.entrypoint
    elif entrypoint == [""]:  # `--entrypoint ""` resets it
        entrypoint = []
    args = [*(entrypoint or []), *(cmd or [])]
    if not args:
        raise InvalidArgument("no command specified", hint="give a command after the image, or set --entrypoint")
    return spec.model_copy(
        update={
            "args": args,
            "entrypoint": entrypoint,
            "cmd": cmd,
            "env": merge_env(spec.env, image.env or []),
            "cwd": spec.cwd or image.working_dir,
            "user": spec.user or image.user,
            "stop_signal": spec.stop_signal or image.stop_signal or "",
            "healthcheck": merged(spec.healthcheck, image.healthcheck),
            "volumes": sorted({*spec.volumes, *(image.volumes or {})}),
            "network": spec.network.model_copy(
                update={"exposed": sorted({*spec.network.exposed, *(image.exposed_ports or {})})}
            ),
        }
    )


def merge_env(wanted: list[str], defaults: list[str]) -> list[str]:
    """Variables of the request, then those of the image that it does not set.

    An image's entry without `=` is dropped: it must not pull in the daemon's own environment. A
    request's entry without `=` removes the variable (docker's rule).
    """
    image = [entry for entry in defaults if "=" in entry and not entry.startswith("=")]
    if not any(entry.startswith("PATH=") for entry in image):
        image.insert(0, DEFAULT_PATH)
    keys = {entry.partition("=")[0] for entry in wanted}
    kept = [entry for entry in image if entry.partition("=")[0] not in keys]
    return [entry for entry in wanted if "=" in entry] + kept


def anonymous_volumes(spec: ContainerSpec) -> list[MountSpec]:
    """A mount for each declared volume that no mount of the request covers."""
    covered = {_clean(mount.target) for mount in spec.mounts}
    return [
        MountSpec(type="volume", target=_clean(path)) for path in spec.volumes if _clean(path) not in covered
    ]


def labels_of(request: dict[str, str], image: RunConfig) -> dict[str, str]:
    """The image's labels, overridden by the request's."""
    return {**(image.labels or {}), **request}


def _clean(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part)
