"""A container's figures in docker's shape."""

from __future__ import annotations

import os
import time
from typing import Any

from corten_shared.models.task import Metrics
from corten_shared.times import ZERO, format_rfc3339
from cortend.services.views import ContainerView

_NO_CPU = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
_BLKIO = (
    "io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive", "io_service_time_recursive",
    "io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive",
)  # fmt: skip


class Sampler:
    """Samples of one container; each carries the one before (`precpu_stats`), from which clients compute a rate."""

    def __init__(self, view: ContainerView) -> None:
        self._name = f"/{view.record.name}"
        self._id = view.record.id
        self._last_read = ZERO
        self._last_cpu: dict[str, Any] = _NO_CPU
        self.live = False

    def sample(self, metrics: Metrics) -> dict[str, Any]:
        """The document for a reading."""
        self.live = True
        cpu = _cpu(metrics)
        read = format_rfc3339(metrics.read_at)
        document = self._document(read, cpu, _memory(metrics), _pids(metrics))
        self._last_read, self._last_cpu = read, cpu
        return document

    def nothing(self) -> dict[str, Any]:
        """The document of a container that does not run."""
        self._last_read, self._last_cpu, self.live = ZERO, _NO_CPU, False
        return self._document(ZERO, _NO_CPU, {}, {})

    def _document(
        self, read: str, cpu: dict[str, Any], memory: dict[str, Any], pids: dict[str, int]
    ) -> dict[str, Any]:
        return {
            "name": self._name,
            "id": self._id,
            "read": read,
            "preread": self._last_read,
            "pids_stats": pids,
            "blkio_stats": dict.fromkeys(_BLKIO),
            "num_procs": 0,
            "storage_stats": {},
            "cpu_stats": cpu,
            "precpu_stats": self._last_cpu,
            "memory_stats": memory,
        }


def _cpu(metrics: Metrics) -> dict[str, Any]:
    count = os.cpu_count() or 1
    return {
        "cpu_usage": {
            "total_usage": metrics.cpu_total_ns,
            "usage_in_kernelmode": metrics.cpu_system_ns,
            "usage_in_usermode": metrics.cpu_user_ns,
        },
        # The time that all CPUs had in every state, idle included: what /proc/stat adds up to.
        "system_cpu_usage": time.clock_gettime_ns(time.CLOCK_BOOTTIME) * count,
        "online_cpus": count,
        "throttling_data": {
            "periods": 0,
            "throttled_periods": metrics.throttled_periods,
            "throttled_time": metrics.throttled_ns,
        },
    }


def _memory(metrics: Metrics) -> dict[str, Any]:
    limit = metrics.memory_limit or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "usage": metrics.memory_usage,
        # cgroup v2's name and v1's: clients subtract whichever they find.
        "stats": {"inactive_file": metrics.memory_inactive_file, "total_inactive_file": metrics.memory_inactive_file},
        "limit": limit,
    }


def _pids(metrics: Metrics) -> dict[str, int]:
    return {"current": metrics.pids, **({"limit": metrics.pids_limit} if metrics.pids_limit else {})}
