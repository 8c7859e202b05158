"""What can be asked of the engine, noun by noun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from corten.sdk.calls import (
    AsyncNoun,
    Call,
    Noun,
    Script,
    StreamCall,
    SyncNoun,
    call,
    items,
    line_of,
    nothing,
    record,
    script,
    segment,
    stream,
)
from corten_shared.errors import DataLoss, NotFound
from corten_shared.models.api import (
    CollectedResult,
    ContainerCreate,
    ContainerCreated,
    ContainerDetail,
    ExecCreate,
    ExecKill,
    ImageCheck,
    ImageDetail,
    ImageMount,
    ImagesPrune,
    ImagesPruned,
    ImageUnmount,
    ImageUsage,
    LabelsPatch,
    LeaseCreate,
    LogEntry,
    Login,
    MountedOn,
    NamespaceCreate,
    PluginInfo,
    PullRequest,
    PushRequest,
    Removed,
    TagRequest,
    TaskDetail,
    TaskKill,
    TaskResult,
    TaskStart,
    TaskStop,
)
from corten_shared.models.container import ContainerSpec
from corten_shared.models.event import Event
from corten_shared.models.image import ImageRecord, PullProgress, PushProgress
from corten_shared.models.lease import Lease, Resource
from corten_shared.models.namespace import Namespace
from corten_shared.models.system import SystemInfo, VersionInfo
from corten_shared.models.task import ExecRecord, Metrics, Process

List = list
"""The built-in, which methods called `list` hide inside their classes."""

WaitCondition = Literal["not-running", "next-exit", "removed"]


class RunResult(NamedTuple):
    """What came of a run: the exit code, and what was written to stdout and stderr."""

    exit_code: int
    output: bytes
    errors: bytes


class NamespaceCalls(Noun):
    """Namespaces."""

    @call
    def list(self, *, filters: Sequence[str] = ()) -> Call[List[Namespace]]:
        """Every namespace, or those that any of `filters` (in containerd's language) means."""
        return Call("GET", "/namespaces", items(Namespace), {"filter": [*filters]})

    @call
    def create(self, name: str, labels: Mapping[str, str] | None = None) -> Call[Namespace]:
        """Make a namespace. Raises AlreadyExists."""
        body = NamespaceCreate(name=name, labels=dict(labels or {}))
        return Call("POST", "/namespaces", record(Namespace), body=body)

    @call
    def get(self, name: str) -> Call[Namespace]:
        """One namespace. Raises NotFound."""
        return Call("GET", f"/namespaces/{segment(name)}", record(Namespace))

    @call
    def label(self, name: str, labels: Mapping[str, str | None]) -> Call[Namespace]:
        """Set labels; None removes one."""
        body = LabelsPatch(labels=dict(labels))
        return Call("PATCH", f"/namespaces/{segment(name)}", record(Namespace), body=body)

    @call
    def remove(self, name: str) -> Call[None]:
        """Delete an empty namespace. Raises Conflict while it holds anything."""
        return Call("DELETE", f"/namespaces/{segment(name)}", nothing)


class ImageCalls(Noun):
    """Images."""

    @call
    def list(self, *, filters: Sequence[str] = ()) -> Call[List[ImageRecord]]:
        """Every name and what it names, or those that any of `filters` (`name~=busybox`) means."""
        return Call("GET", "/images", items(ImageRecord), self._query(filter=[*filters]))

    @call
    def get(self, name: str) -> Call[ImageDetail]:
        """One image with its configuration, by full or short name or id. Raises NotFound."""
        return Call("GET", f"/images/{segment(name)}", record(ImageDetail), self._query())

    @stream
    def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        platforms: Sequence[str] = (),
        all_platforms: bool = False,
        unpack: bool = True,
        credentials: Login | None = None,
    ) -> StreamCall[PullProgress]:
        """Pull an image, yielding progress; the last item has `image`.

        For several `platforms` the first one's image is unpacked. Raises NotFound, Unauthenticated, Unavailable and
        others while it goes on.
        """
        body = PullRequest(
            reference=reference, platform=platform, platforms=list(platforms), all_platforms=all_platforms,
            unpack=unpack, credentials=credentials,
        )  # fmt: skip
        return StreamCall("POST", "/images/pull", line_of(PullProgress), self._query(), body)

    @stream
    def push(
        self,
        reference: str,
        *,
        local: str = "",
        all_tags: bool = False,
        platform: str = "",
        manifest: str = "",
        credentials: Login | None = None,
    ) -> StreamCall[PushProgress]:
        """Push an image, yielding progress; an item has `pushed` for each name that the registry has now.

        Raises NotFound, Unauthenticated, PermissionDenied, Unavailable and others while it goes on.
        """
        body = PushRequest(
            reference=reference, local=local, all_tags=all_tags, platform=platform, manifest=manifest,
            credentials=credentials,
        )  # fmt: skip
        return StreamCall("POST", "/images/push", line_of(PushProgress), self._query(), body)

    @call
    def check(self, *, snapshotter: str = "", filters: Sequence[str] = ()) -> Call[List[ImageCheck]]:
        """How much of each image is here for this host's platform, and whether it is unpacked."""
        query = self._query(snapshotter=snapshotter, filter=[*filters])
        return Call("POST", "/images/check", items(ImageCheck), query)

    @call
    def usage(self, name: str, *, snapshotter: str = "") -> Call[ImageUsage]:
        """What an image takes in content and snapshots. Raises NotFound."""
        return Call("POST", "/images/usage", record(ImageUsage), self._query(name=name, snapshotter=snapshotter))

    @call
    def label(self, name: str, labels: Mapping[str, str | None], *, replace: bool = False) -> Call[ImageRecord]:
        """Set labels of a name; None removes one, `replace` all others."""
        body = LabelsPatch(labels=dict(labels), replace=replace)
        return Call("PATCH", f"/images/{segment(name)}", record(ImageRecord), self._query(), body)

    @call
    def prune(self, *, all: bool = False) -> Call[ImagesPruned]:
        """Remove images that no container uses: those without a name, or `all`."""
        return Call("POST", "/images/prune", record(ImagesPruned), self._query(), ImagesPrune(all=all))

    @call
    def tag(self, source: str, target: str) -> Call[None]:
        """Give an image another name."""
        return Call("POST", "/images/tag", nothing, self._query(), TagRequest(source=source, target=target))

    @call
    def mount(
        self, reference: str, target: str, *, writable: bool = False, platform: str = "", snapshotter: str = ""
    ) -> Call[MountedOn]:
        """Mount an image on a directory of the engine's host, until `unmount`. Raises NotFound, Conflict."""
        body = ImageMount(
            reference=reference, target=target, writable=writable, platform=platform, snapshotter=snapshotter
        )
        return Call("POST", "/images/mount", record(MountedOn), self._query(), body)

    @call
    def unmount(self, target: str, *, keep: bool = False) -> Call[None]:
        """Unmount it, and remove its snapshot unless `keep`. Raises NotFound."""
        return Call("POST", "/images/unmount", nothing, self._query(), ImageUnmount(target=target, keep=keep))

    @call
    def remove(self, name: str, *, force: bool = False) -> Call[List[Removed]]:
        """Remove a name, and the image with its last one; says what went."""
        return Call("DELETE", f"/images/{segment(name)}", items(Removed), self._query(force=force))


class ContainerCalls(Noun):
    """Containers: objects from which tasks are started."""

    @call
    def create(
        self,
        image: str,
        args: Sequence[str] | None = None,
        *,
        name: str = "",
        spec: ContainerSpec | None = None,
        labels: Mapping[str, str] | None = None,
        platform: str = "",
    ) -> Call[ContainerCreated]:
        """Make a container. `args` takes the place of the image's command; `spec` says everything else."""
        return Call("POST", "/containers", record(ContainerCreated), self._query(),
                    _creation(image, args, name, spec, labels, platform))  # fmt: skip

    @call
    def list(self, *, all_namespaces: bool = False, filters: Sequence[str] = ()) -> Call[List[ContainerDetail]]:
        """Every container, running or not, newest first, or those that any of `filters` (`labels.tier==web`) means."""
        query = self._query(all_namespaces=all_namespaces, filter=[*filters])
        return Call("GET", "/containers", items(ContainerDetail), query)

    @call
    def get(self, ref: str) -> Call[ContainerDetail]:
        """One container by id, unique prefix or name. Raises NotFound."""
        return Call("GET", f"/containers/{segment(ref)}", record(ContainerDetail), self._query())

    @call
    def label(self, ref: str, labels: Mapping[str, str | None], *, replace: bool = False) -> Call[ContainerDetail]:
        """Set labels; None removes one, `replace` all others."""
        body = LabelsPatch(labels=dict(labels), replace=replace)
        return Call("PATCH", f"/containers/{segment(ref)}", record(ContainerDetail), self._query(), body)

    @call
    def remove(
        self, ref: str, *, force: bool = False, volumes: bool = False, keep_snapshot: bool = False
    ) -> Call[None]:
        """Remove a container; `force` kills its task first, `keep_snapshot` leaves its snapshot.

        Raises Conflict while it runs.
        """
        query = self._query(force=force, volumes=volumes, keep_snapshot=keep_snapshot or None)
        return Call("DELETE", f"/containers/{segment(ref)}", nothing, query)


def _creation(
    image: str,
    args: Sequence[str] | None,
    name: str,
    spec: ContainerSpec | None,
    labels: Mapping[str, str] | None,
    platform: str,
) -> ContainerCreate:
    spec = spec or ContainerSpec()
    if args is not None:
        spec = spec.model_copy(update={"cmd": list(args)})
    return ContainerCreate(image=image, name=name, platform=platform, spec=spec, labels=dict(labels or {}))


class TaskCalls(Noun):
    """Containers' processes, named by their containers."""

    @call
    def list(self, *, all_namespaces: bool = False, filters: Sequence[str] = ()) -> Call[List[TaskDetail]]:
        """Every task, running or ended, or those that any of `filters` (`status==running`) means."""
        query = self._query(all_namespaces=all_namespaces, filter=[*filters])
        return Call("GET", "/tasks", items(TaskDetail), query)

    @call
    def start(self, ref: str) -> Call[TaskDetail]:
        """Start a container's task. Raises NotModified when it runs."""
        return Call("POST", "/tasks", record(TaskDetail), self._query(), TaskStart(container=ref))

    @call
    def get(self, ref: str) -> Call[TaskDetail]:
        """The container's last task. Raises NotFound."""
        return Call("GET", f"/tasks/{segment(ref)}", record(TaskDetail), self._query())

    @call
    def kill(self, ref: str, signal: str = "SIGTERM", *, all: bool = False) -> Call[None]:
        """Send a signal, with `all` to every process. Raises Conflict when it does not run."""
        body = TaskKill(signal=signal, all=all)
        return Call("POST", f"/tasks/{segment(ref)}/kill", nothing, self._query(), body)

    @call
    def execs(self, ref: str) -> Call[List[ExecRecord]]:
        """Its further processes, running and ended."""
        return Call("GET", f"/tasks/{segment(ref)}/execs", items(ExecRecord), self._query())

    @call
    def exec_create(
        self,
        ref: str,
        args: Sequence[str],
        *,
        id: str = "",
        env: Sequence[str] = (),
        cwd: str = "",
        user: str = "",
        privileged: bool = False,
    ) -> Call[ExecRecord]:
        """Describe a further process. Raises Conflict when the container does not run, AlreadyExists (the id)."""
        body = ExecCreate(args=[*args], id=id, env=[*env], cwd=cwd, user=user, privileged=privileged)
        return Call("POST", f"/tasks/{segment(ref)}/execs", record(ExecRecord), self._query(), body)

    @call
    def exec_start(self, exec_id: str) -> Call[None]:
        """Run it by itself, without streams. Raises Conflict when it was started before."""
        return Call("POST", f"/execs/{segment(exec_id)}/start", nothing, self._query(detach=True))

    @call
    def exec_wait(self, exec_id: str) -> Call[TaskResult]:
        """Return when it has ended."""
        return Call("GET", f"/execs/{segment(exec_id)}/wait", record(TaskResult), self._query())

    @call
    def exec_kill(self, exec_id: str, signal: str = "SIGTERM") -> Call[None]:
        """Send a signal to its process. Raises Conflict when it does not run."""
        return Call("POST", f"/execs/{segment(exec_id)}/kill", nothing, self._query(), ExecKill(signal=signal))

    @call
    def exec_remove(self, exec_id: str) -> Call[ExecRecord]:
        """Forget one that has ended; says what it was. Raises Conflict while it runs."""
        return Call("DELETE", f"/execs/{segment(exec_id)}", record(ExecRecord), self._query())

    @call
    def stop(self, ref: str, timeout: int | None = None) -> Call[None]:
        """Ask it to end, and kill it after `timeout` seconds. Raises NotModified when it does not run."""
        return Call("POST", f"/tasks/{segment(ref)}/stop", nothing, self._query(), TaskStop(timeout=timeout))

    @call
    def pause(self, ref: str) -> Call[None]:
        """Freeze it."""
        return Call("POST", f"/tasks/{segment(ref)}/pause", nothing, self._query())

    @call
    def resume(self, ref: str) -> Call[None]:
        """Thaw it."""
        return Call("POST", f"/tasks/{segment(ref)}/resume", nothing, self._query())

    @call
    def wait(self, ref: str, condition: WaitCondition = "not-running") -> Call[TaskResult]:
        """Return when it has ended."""
        return Call("GET", f"/tasks/{segment(ref)}/wait", record(TaskResult), self._query(condition=condition))

    @stream
    def logs(
        self,
        ref: str,
        *,
        stdout: bool = True,
        stderr: bool = True,
        since: str | None = None,
        until: str | None = None,
        tail: int | None = None,
        follow: bool = False,
    ) -> StreamCall[LogEntry]:
        """What it wrote; with `follow` until it ends. Times are RFC 3339."""
        query = self._query(stdout=stdout, stderr=stderr, since=since, until=until, tail=tail, follow=follow)
        return StreamCall("GET", f"/tasks/{segment(ref)}/logs", line_of(LogEntry), query)

    @call
    def metrics(self, ref: str) -> Call[Metrics]:
        """What it uses now."""
        return Call("GET", f"/tasks/{segment(ref)}/metrics", record(Metrics), self._query())

    @call
    def processes(self, ref: str) -> Call[List[Process]]:
        """Its processes, as the host sees them."""
        return Call("GET", f"/tasks/{segment(ref)}/processes", items(Process), self._query())

    @call
    def remove(self, ref: str, *, force: bool = False) -> Call[None]:
        """Forget an ended task, keeping the container."""
        return Call("DELETE", f"/tasks/{segment(ref)}", nothing, self._query(force=force))


class LeaseCalls(Noun):
    """Leases: what keeps fresh objects alive."""

    @call
    def list(self, *, filters: Sequence[str] = ()) -> Call[List[Lease]]:
        """Every lease, or those that any of `filters` means."""
        return Call("GET", "/leases", items(Lease), self._query(filter=[*filters]))

    @call
    def create(self, id: str = "", labels: Mapping[str, str] | None = None) -> Call[Lease]:
        """Make a lease; without an id it gets a random one."""
        return Call("POST", "/leases", record(Lease), self._query(), LeaseCreate(id=id, labels=dict(labels or {})))

    @call
    def get(self, id: str) -> Call[Lease]:
        """One lease. Raises NotFound."""
        return Call("GET", f"/leases/{segment(id)}", record(Lease), self._query())

    @call
    def resources(self, id: str) -> Call[List[Resource]]:
        """What it holds."""
        return Call("GET", f"/leases/{segment(id)}/resources", items(Resource), self._query())

    @call
    def add(self, id: str, resource: Resource) -> Call[None]:
        """Have it hold an object."""
        return Call("POST", f"/leases/{segment(id)}/resources", nothing, self._query(), resource)

    @call
    def remove(self, id: str) -> Call[None]:
        """End it."""
        return Call("DELETE", f"/leases/{segment(id)}", nothing, self._query())


class EngineCalls(Noun):
    """The engine itself."""

    @call
    def info(self) -> Call[SystemInfo]:
        """The engine and its host at a glance."""
        return Call("GET", "/info", record(SystemInfo), self._query())

    @call
    def version(self) -> Call[VersionInfo]:
        """Versions."""
        return Call("GET", "/version", record(VersionInfo))

    @call
    def plugins(self, *, filters: Sequence[str] = ()) -> Call[List[PluginInfo]]:
        """The engine's parts, and why one is absent."""
        return Call("GET", "/plugins", items(PluginInfo), {"filter": [*filters]})

    @call
    def collect_garbage(self) -> Call[CollectedResult]:
        """Free what nothing refers to."""
        return Call("POST", "/gc", record(CollectedResult))

    @stream
    def events(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        follow: bool = True,
        topics: Sequence[str] = (),
        filters: Sequence[str] = (),
        all_namespaces: bool = False,
    ) -> StreamCall[Event]:
        """Events from now on, or from `since` on; without `follow` those of the journal only. Times are RFC 3339."""
        query = self._query(since=since, until=until, follow=follow, topic=list(topics), filter=list(filters))
        if all_namespaces:
            del query["namespace"]
        return StreamCall("GET", "/events", line_of(Event), query)

    @script
    def run(
        self,
        image: str,
        args: Sequence[str] | None = None,
        *,
        name: str = "",
        spec: ContainerSpec | None = None,
        credentials: Login | None = None,
    ) -> Script[RunResult]:
        """Run a container to its end and remove it; pulls the image when it is not here."""
        query = self._query()
        create = Call("POST", "/containers", record(ContainerCreated), query,
                      _creation(image, args, name, spec, None, ""))  # fmt: skip
        try:
            created = yield create
        except NotFound:
            order = PullRequest(reference=image, credentials=credentials)
            yield Call("POST", "/images/pull", _last_progress, query, order)
            created = yield create
        path = created.container.id
        try:
            yield Call("POST", "/tasks", nothing, query, TaskStart(container=path))
            result: TaskResult = yield Call("GET", f"/tasks/{path}/wait", record(TaskResult), query)
            log: List[LogEntry] = yield Call("GET", f"/tasks/{path}/logs", _log_lines, query)
        finally:
            yield Call("DELETE", f"/containers/{path}", nothing, self._query(force=True, volumes=True))
        return RunResult(result.exit_code, *(_written(log, stream) for stream in ("stdout", "stderr")))


def _last_progress(data: bytes) -> PullProgress:
    progress = [line_of(PullProgress)(line) for line in data.splitlines()]
    if not progress or progress[-1].image is None:
        raise DataLoss("the pull ended before it was done", hint="see cortend's log, and try again")
    return progress[-1]


def _log_lines(data: bytes) -> List[LogEntry]:
    return [line_of(LogEntry)(line) for line in data.splitlines()]


def _written(log: Sequence[LogEntry], stream: str) -> bytes:
    return b"".join(entry.raw for entry in log if entry.stream == stream)


class Namespaces(NamespaceCalls, SyncNoun):
    """Namespaces, blocking."""


class Images(ImageCalls, SyncNoun):
    """Images, blocking."""


class Containers(ContainerCalls, SyncNoun):
    """Containers, blocking."""


class Tasks(TaskCalls, SyncNoun):
    """Tasks, blocking."""


class Leases(LeaseCalls, SyncNoun):
    """Leases, blocking."""


class AsyncNamespaces(NamespaceCalls, AsyncNoun):
    """Namespaces, for asyncio."""


class AsyncImages(ImageCalls, AsyncNoun):
    """Images, for asyncio."""


class AsyncContainers(ContainerCalls, AsyncNoun):
    """Containers, for asyncio."""


class AsyncTasks(TaskCalls, AsyncNoun):
    """Tasks, for asyncio."""


class AsyncLeases(LeaseCalls, AsyncNoun):
    """Leases, for asyncio."""
