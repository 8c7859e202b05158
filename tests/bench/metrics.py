"""What is timed: one function per metric, from an engine to a figure (seconds, or bytes for memory).

Every time is that of whole commands, as a person types them; what only sets the scene is not timed.
"""

from __future__ import annotations

import http.client
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import stock
from engines import Engine, new_name
from processes import BenchError, disk, naming, pss, rss, run, timed, tree

SLEEP = ("sleep", "600")
LINE = "0123456789" * 6
WEB_PORT = 18080
EMPTY_ENOUGH = 100_000_000


@dataclass(frozen=True)
class Scene:
    """What metrics share: the images, and a directory to write into."""

    busybox: str
    big: str
    folder: Path


Metric = Callable[[Engine, Scene], float]


def version(engine: Engine, scene: Scene) -> float:
    return timed(engine.version())


def python_pass() -> float:
    """The start of the interpreter that corten's commands run on."""
    return timed([sys.executable, "-c", "pass"])


def run_rm(engine: Engine, scene: Scene) -> float:
    return timed(engine.run(scene.busybox, "true", flags=("--rm",)))


def run_rm_nonet(engine: Engine, scene: Scene) -> float:
    return timed(engine.run_alone(scene.busybox, "true"))


def exec_(engine: Engine, scene: Scene) -> float:
    """The median of five in one container."""
    name = new_name()
    run(engine.start(scene.busybox, name, *SLEEP))
    try:
        return statistics.median(timed(engine.exec(name, "true")) for _ in range(5))
    finally:
        engine.remove(name)


def serve(engine: Engine, scene: Scene) -> float:
    """`run -d -p` of a web server, until its first answer."""
    name = new_name()
    start = time.perf_counter()
    run(engine.start(scene.busybox, name, "httpd", "-f", "-p", "80", flags=("-p", f"127.0.0.1:{WEB_PORT}:80")))
    try:
        while not _answers(WEB_PORT):
            if time.perf_counter() - start > 20:
                raise BenchError("the published port does not answer")
            time.sleep(0.002)
        return time.perf_counter() - start
    finally:
        engine.remove(name)


def _answers(port: int) -> bool:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        client.request("GET", "/")
        return client.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()


def stop_rm(engine: Engine, scene: Scene) -> float:
    """`rm -f` of a container that runs (and whose first process ignores SIGTERM, as most do)."""
    name = new_name()
    run(engine.start(scene.busybox, name, *SLEEP))
    return timed(engine.remove_timed(name))


def burst20(engine: Engine, scene: Scene) -> float:
    """Twenty starts in the background, four at a time."""
    names = [new_name() for _ in range(20)]
    try:
        start = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: timed(engine.start(scene.busybox, name, *SLEEP)), names))
        return time.perf_counter() - start
    finally:
        engine.remove(*names)


def logs100mb(engine: Engine, scene: Scene) -> float:
    """A container that writes 100 MB of lines, its client reading all of it."""
    name = new_name()
    try:
        return timed(engine.run(scene.busybox, "sh", "-c", f"yes {LINE} | head -c 100000000", name=name))
    finally:
        engine.remove(name)


def ps(engine: Engine, scene: Scene) -> float:
    return timed(engine.ps())


def build(engine: Engine, scene: Scene) -> float:
    """Eight RUN steps that no cache can know, and a COPY."""
    folder = scene.folder / "build"
    folder.mkdir(exist_ok=True)
    steps = "".join(f"RUN echo {time.time_ns()}-{number} > /f{number}\n" for number in range(8))
    (folder / "Dockerfile").write_text(f"FROM {scene.busybox}\n{steps}COPY . /src\n")
    return timed(engine.build("bench-build", folder))


def pull_big(engine: Engine, scene: Scene) -> float:
    _forget(engine, scene)
    return timed(engine.pull(scene.big))


def pull_rss(engine: Engine, scene: Scene) -> float:
    """By how much the daemons grow while they pull, at most; the programs that they start are not counted."""
    _forget(engine, scene)
    before = most = rss(engine.daemons)
    with ThreadPoolExecutor(1) as pool:
        pull = pool.submit(run, engine.pull(scene.big))
        while not pull.done():
            most = max(most, rss(engine.daemons))
            time.sleep(0.01)
        pull.result()
    return most - before


def rmi_big(engine: Engine, scene: Scene) -> float:
    """Until the command returns; that the disk is free again is seen by the pulls."""
    _ensure_big(engine, scene)
    return timed(engine.remove_image(scene.big))


def images1000(engine: Engine, scene: Scene) -> float:
    """A list of a thousand images and those of before."""
    if not engine.has("bench/many:0"):
        run(engine.load(stock.many(scene.folder)))
    return timed(engine.images())


def _forget(engine: Engine, scene: Scene) -> None:
    """Drop the big image, and see that it has gone from the disk: else nothing would be pulled."""
    engine.drop(scene.big)
    deadline = time.monotonic() + 90
    while disk(engine.data) > EMPTY_ENOUGH:
        if time.monotonic() > deadline:
            raise BenchError(f"{engine.name} still holds the big image after its removal")
        time.sleep(1)  # an engine may collect later
    os.sync()


def save_big(engine: Engine, scene: Scene) -> float:
    _ensure_big(engine, scene)
    archive = _archive(engine, scene)
    archive.unlink(missing_ok=True)
    os.sync()
    return timed(engine.save(scene.big, archive))


def load_big(engine: Engine, scene: Scene) -> float:
    archive = _archive(engine, scene)
    if not archive.exists():
        save_big(engine, scene)
    _forget(engine, scene)
    return timed(engine.load(archive))


def push_big(engine: Engine, scene: Scene) -> float:
    """Into an empty registry, so that nothing can be mounted from elsewhere."""
    _ensure_big(engine, scene)
    with stock.empty(scene.folder) as registry:
        ref = f"{registry.host}/push:1"
        run(engine.tag(scene.big, ref))
        os.sync()
        try:
            return timed(engine.push(ref))
        finally:
            engine.drop(ref)


def _ensure_big(engine: Engine, scene: Scene) -> None:
    if not engine.has(scene.big):
        run(engine.pull(scene.big))


def _archive(engine: Engine, scene: Scene) -> Path:
    return scene.folder / f"{engine.name}.tar"


def daemon_rss(engine: Engine, scene: Scene) -> float:
    """Resident bytes of the daemons while nothing runs, helpers that they keep included."""
    return rss(pid for top in engine.daemons for pid in tree(top))


def container_pss(engine: Engine, scene: Scene) -> float:
    """Bytes of helper processes per running container, the container's own and the daemons left out."""
    names = [new_name() for _ in range(4)]
    try:
        for name in names:
            run(engine.start(scene.busybox, name, *SLEEP))
        return pss(set(naming(engine.identities(names))) - set(engine.daemons)) / len(names)
    finally:
        engine.remove(*names)


@dataclass(frozen=True)
class Kind:
    """A metric: what an engine must be able to do for it, and how dear one sample is."""

    measure: Metric
    needs: str = ""
    slow: bool = False
    big: bool = False
    memory: bool = False


METRICS: Mapping[str, Kind] = {
    "daemon_rss": Kind(daemon_rss, memory=True),
    "version": Kind(version),
    "run_rm": Kind(run_rm, "network"),
    "run_rm_nonet": Kind(run_rm_nonet),
    "exec": Kind(exec_),
    "serve": Kind(serve, "network"),
    "stop_rm": Kind(stop_rm, "rm"),
    "ps": Kind(ps, "ps"),
    "burst20": Kind(burst20, "network", slow=True),
    "logs100mb": Kind(logs100mb, "network", slow=True),
    "container_pss": Kind(container_pss, memory=True),
    "build": Kind(build, "build", slow=True),
    "pull_big": Kind(pull_big, slow=True, big=True),
    "pull_rss": Kind(pull_rss, memory=True, big=True),
    "rmi_big": Kind(rmi_big, slow=True, big=True),
    "save_big": Kind(save_big, "archive", slow=True, big=True),
    "load_big": Kind(load_big, "archive", slow=True, big=True),
    "push_big": Kind(push_big, "push", slow=True, big=True),
    "images1000": Kind(images1000, "archive"),
    "daemon_rss_after": Kind(daemon_rss, memory=True),
}
