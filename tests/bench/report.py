"""Medians side by side, what they are measured against, and the machine they were taken on."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines import Engine
from metrics import METRICS
from processes import run

Samples = Mapping[str, Mapping[str, Sequence[float]]]
MB = 1_000_000


@dataclass(frozen=True)
class Goal:
    """corten's figure is to be at most `times` that of `against`, or `times` megabytes against nothing."""

    times: float
    against: str = ""

    def __str__(self) -> str:
        return f"<= {self.times:g} x {self.against}" if self.against else f"<= {self.times:g} MB"

    def met(self, figures: Mapping[str, float]) -> bool | None:
        """Whether it is reached; None when there is nothing to compare."""
        other = reference(figures, self.against) if self.against else MB
        mine = figures.get("corten")
        return None if mine is None or other is None else mine <= self.times * other


NOW = {"run_rm": Goal(1.0, "docker"), "version": Goal(2.5, "python"), "daemon_rss": Goal(90)}
"""What the issue that made this benchmark asks for."""

LATER = {
    "version": Goal(2.5, "python"),
    "run_rm": Goal(0.33, "docker"),
    "run_rm_nonet": Goal(1.0, "ctr"),
    "exec": Goal(1.0, "docker"),
    "serve": Goal(0.6, "best"),
    "stop_rm": Goal(0.5, "docker"),
    "burst20": Goal(0.5, "best"),
    "logs100mb": Goal(0.7, "best"),
    "ps": Goal(4.0, "docker"),
    "build": Goal(0.33, "best"),
    "pull_big": Goal(0.4, "best"),
    "pull_rss": Goal(60),
    "save_big": Goal(0.5, "best"),
    "load_big": Goal(0.5, "best"),
    "push_big": Goal(0.5, "best"),
    "daemon_rss": Goal(90),
    "container_pss": Goal(3),
}
"""What the project aims at in the end."""

PEERS = ("docker", "podman", "ctr")


def reference(figures: Mapping[str, float], against: str) -> float | None:
    """The figure of an engine, or with "best" the least of the peers."""
    if against == "best":
        return min((figures[name] for name in PEERS if name in figures), default=None)
    return figures.get(against)


def medians(samples: Samples) -> dict[str, dict[str, float]]:
    return {
        metric: {name: statistics.median(taken) for name, taken in rows.items() if taken}
        for metric, rows in samples.items()
    }


def line(metric: str, figures: Mapping[str, float]) -> str:
    """One metric, as it is printed while the benchmark runs."""
    return f"{metric:17}" + "  ".join(f"{name} {show(metric, value)}" for name, value in figures.items())


def show(metric: str, value: float) -> str:
    if METRICS[metric].memory:
        return f"{value / MB:.1f} MB"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def table(found: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> str:
    """All metrics in Markdown, ready for docs/performance.md."""
    columns = [*names, "corten / docker", "corten / best peer", "goal now", "goal later"]
    rows = [["metric", *columns], ["---"] * (len(columns) + 1)]
    for metric, figures in found.items():
        cells = [show(metric, figures[name]) if name in figures else "-" for name in names]
        ratios = [_ratio(figures, against) for against in ("docker", "best")]
        rows.append([metric, *cells, *ratios, _judged(NOW, metric, figures), _judged(LATER, metric, figures)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _ratio(figures: Mapping[str, float], against: str) -> str:
    other = reference(figures, against)
    return f"{figures['corten'] / other:.2f}" if other and "corten" in figures else "-"


def _judged(goals: Mapping[str, Goal], metric: str, figures: Mapping[str, float]) -> str:
    goal = goals.get(metric)
    if goal is None:
        return "-"
    return f"{goal} {({True: '(met)', False: '(**not met**)', None: ''}[goal.met(figures)])}".strip()


def machine(engines: Sequence[Engine], folder: Path) -> dict[str, str]:
    """What the figures depend on."""
    cpu = [text for text in Path("/proc/cpuinfo").read_text().splitlines() if text.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = run(["df", "--output=fstype", str(folder)]).split()[-1]
    top = Path("/sys/fs/cgroup")
    cgroups = "v2" if (top / "cgroup.controllers").exists() else "hybrid" if (top / "unified").exists() else "v1"
    return {
        "processor": f"{os.cpu_count()} x {cpu[0].partition(': ')[2] if cpu else platform.machine()}",
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "disk": disk,
        "cgroups": cgroups,
        "python": platform.python_version(),
        **{engine.name: engine.about() for engine in engines},
        "runtimes": ", ".join(run([name, "--version"]).splitlines()[0] for name in ("runc", "crun", "conmon")),
    }
