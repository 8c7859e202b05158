"""What a health check is, and what its probes make of a container (pure).

docker's rules: `starting` until the first success or until `retries` failures in a row; failures within the start
period do not count; a success makes it `healthy` at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerSpec
from corten_shared.models.task import HealthProbe

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
ON_FAILURE = ("none", "kill", "restart", "stop")
"""What `--health-on-failure` may be (podman's words)."""

_INTERVAL = _TIMEOUT = 30_000_000_000
_START_INTERVAL = 5_000_000_000
_RETRIES = 3
_KEPT = 5
OUTPUT = 4096
"""docker's figures: ns, probes kept, bytes of output kept."""


class Check(NamedTuple):
    """A container's health check; times in ns."""

    args: list[str]
    interval: int
    timeout: int
    start_period: int
    start_interval: int
    retries: int
    on_failure: str


def check_of(spec: ContainerSpec) -> Check | None:
    """The check of a merged spec, None without one (pure)."""
    given: Mapping[str, Any] = spec.healthcheck or {}
    kind, *rest = given.get("Test") or ["NONE"]
    match kind:
        case "CMD" if rest:
            args = list(rest)
        case "CMD-SHELL" if rest:
            args = [*(given.get("Shell") or ["/bin/sh", "-c"]), rest[0]]
        case _:
            return None
    return Check(
        args,
        given.get("Interval") or _INTERVAL,
        given.get("Timeout") or _TIMEOUT,
        given.get("StartPeriod") or 0,
        given.get("StartInterval") or _START_INTERVAL,
        given.get("Retries") or _RETRIES,
        given.get("OnFailure") or "none",
    )


@dataclass
class Tally:
    """What the probes so far make of a container (pure)."""

    status: str = STARTING
    streak: int = 0
    probes: deque[HealthProbe] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def count(self, probe: HealthProbe, check: Check, started_at: int) -> bool:
        """Take a probe in; whether the status changed."""
        before = self.status
        self.probes.append(probe)
        if probe.exit_code == 0:
            self.status, self.streak = HEALTHY, 0
        elif self.status != STARTING or probe.start - started_at >= check.start_period:
            self.streak += 1
            if self.streak >= check.retries:
                self.status = UNHEALTHY
        return self.status != before

    def pause(self, check: Check, since_start: int) -> int:
        """Until the next probe, in ns."""
        starting = self.status == STARTING and since_start < check.start_period
        return check.start_interval if starting else check.interval


def merged(wanted: Mapping[str, Any] | None, image: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A container's check: what was asked for, each member that was left out from the image's.

    Raises InvalidArgument for a test that is none.
    """
    found = {**(image or {}), **{key: value for key, value in (wanted or {}).items() if value}} or None
    if found is None:
        return None
    kind, *rest = found.get("Test") or ["NONE"]
    if kind not in ("NONE", "CMD", "CMD-SHELL"):
        raise InvalidArgument(f'Unknown healthcheck type "{str(kind)[:40]}" (expected "CMD", "CMD-SHELL" or "NONE")')
    if kind != "NONE" and not rest:
        raise InvalidArgument(f"a health check of type {kind} needs a command")
    if (found.get("OnFailure") or "none") not in ON_FAILURE:
        raise InvalidArgument(
            f"unknown health-on-failure action {str(found['OnFailure'])[:40]!r}", hint=f"one of {', '.join(ON_FAILURE)}"
        )
    return found
