#!/usr/bin/env python3
"""Time the same container work on corten and on Debian's docker, podman and containerd.

    make bench                                    everything; about twenty minutes
    make bench BENCH_ARGS='--small'               without the 670 MB image
    make bench BENCH_ARGS='--only run_rm,exec'    some metrics; --list names them

Engines take turns (A B C A B C ...), so that a ratio holds when the machine drifts. Each is started here, with files,
networks and processes of its own (see sandbox.py).
"""

# ruff: noqa: E402 (the tests' own modules are found once the path is set)
from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import report
import sandbox
import stock
from engines import ENGINES, Engine
from metrics import METRICS, Kind, Scene, python_pass
from processes import BenchError, run

WAITED_OUT = 5.0
"""Seconds from which a quick metric has met a time limit (podman's ten seconds for SIGTERM)."""

SETTLE = 0.3
"""Seconds between samples: engines tidy up after they have answered, and the next one is not to pay for it."""

SLOW_RUNS = 3
"""Samples of slow metrics, at most."""


def main() -> int:
    """Enter the sandbox, or measure when in it; returns the exit code."""
    arguments = parse(sys.argv[1:])
    if os.geteuid() != 0:
        print("bench: engines need root", file=sys.stderr)
        return 1
    base = sandbox.inside()
    if base is not None:
        return measure(arguments, base)
    if any(METRICS[name].big for name in arguments.only):
        stock.fetch_base()
    return sandbox.enter(Path(__file__).resolve(), sys.argv[1:], keep=arguments.keep)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engines", default="corten,docker,podman,ctr", help="of " + ",".join(ENGINES))
    parser.add_argument("--only", default="", help="metrics, separated by commas")
    parser.add_argument("--runs", type=int, default=9, help="samples of quick metrics (slow ones: at most 3)")
    parser.add_argument("--small", action="store_true", help="leave the big image out")
    parser.add_argument("--keep", action="store_true", help="keep the engines' directories and logs")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    parser.add_argument("--list", action="store_true", help="print the metrics and leave")
    arguments = parser.parse_args(argv)
    if arguments.list:
        print("\n".join(METRICS))
        raise SystemExit(0)
    arguments.engines = _known(parser, arguments.engines, ENGINES)
    arguments.only = _known(parser, arguments.only, METRICS) or list(METRICS)
    if arguments.small:
        arguments.only = [name for name in arguments.only if not METRICS[name].big]
    return arguments


def _known(parser: argparse.ArgumentParser, text: str, table: object) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in table:  # type: ignore[operator]
            parser.error(f"unknown name {name!r}; known: {', '.join(table)}")  # type: ignore[arg-type]
    return names


def measure(arguments: argparse.Namespace, base: Path) -> int:
    """Inside: start the engines, take the samples, print the table."""
    sandbox.prepare(base)
    samples: dict[str, dict[str, list[float]]] = {}
    try:
        with ExitStack() as stack:
            big = any(METRICS[name].big for name in arguments.only)
            registry = stack.enter_context(stock.stocked(big=big))
            engines = start(stack, arguments.engines, base, registry.host)
            scene = Scene(f"{registry.host}/busybox:latest", f"{registry.host}/big:1", base)
            facts = report.machine(engines, base)
            for name in arguments.only:
                samples[name] = sample(name, METRICS[name], engines, scene, arguments.runs)
                print(report.line(name, report.medians(samples)[name]), flush=True)
            finish(samples, facts, [engine.name for engine in engines], arguments.json)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def start(stack: ExitStack, names: Sequence[str], base: Path, registry: str) -> list[Engine]:
    """Start the engines, and give each the small image."""
    engines = []
    for name in names:
        engine = stack.enter_context(ENGINES[name](base, registry))
        print(f"==> {name} runs", file=sys.stderr)
        run(engine.pull(f"{registry}/busybox:latest"))
        engines.append(engine)
    return engines


def sample(metric: str, kind: Kind, engines: Sequence[Engine], scene: Scene, runs: int) -> dict[str, list[float]]:
    """Turns of every engine that can do it. The first turn of quick metrics warms up and does not count.

    An engine that fails leaves the metric, with a word; one that sits out a time limit is not asked again.
    """
    rows: dict[str, list[float]] = {engine.name: [] for engine in engines if not kind.needs or kind.needs in engine.can}
    if kind.memory:
        rows = {engine.name: [] for engine in engines if engine.daemons or "rss" not in metric}
    if metric == "version":
        rows = {"python": [], **rows}
    warm_up = 0 if kind.slow or kind.memory else 1
    turns = min(SLOW_RUNS, runs) if kind.slow or kind.memory else runs
    by_name = {engine.name: engine for engine in engines}
    for turn in range(turns + warm_up):
        for name in list(rows):
            if any(taken > WAITED_OUT for taken in rows[name]) and not kind.slow and not kind.memory:
                continue
            time.sleep(SETTLE)
            try:
                taken = kind.measure(by_name[name], scene) if name in by_name else python_pass()
            except BenchError as error:
                print(f"  {metric}: without {name}: {error}", file=sys.stderr, flush=True)
                del rows[name]
                continue
            if turn >= warm_up or taken > WAITED_OUT:
                rows[name].append(taken)
    return rows


def finish(
    samples: dict[str, dict[str, list[float]]], facts: dict[str, str], names: Sequence[str], target: Path | None
) -> None:
    """Print the table and the machine; write the samples."""
    found = report.medians(samples)
    shown = [*names, "python"] if "version" in samples else list(names)
    print("\n" + report.table(found, shown) + "\n")
    print("\n".join(f"{key}: {value}" for key, value in facts.items()), flush=True)
    if target is not None:
        target.write_text(json.dumps({"machine": facts, "medians": found, "samples": samples}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
