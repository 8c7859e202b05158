"""The composition root: the only module that names concrete classes.

`open_application` builds the engine from a configuration, recovers what an earlier run left, and yields what
the server serves.
Leaving it lets go of everything but containers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from corten_shared.errors import Unavailable
from cortend import __version__
from cortend.api.app import build_api
from cortend.app_checks import build_checks
from cortend.app_settings import (
    collect_settings,
    engine_id,
    find_init,
    log_defaults,
    registry_settings,
    verifier_settings,
)
from cortend.config import Config
from cortend.content.local import LocalBlobStore
from cortend.core import limits, platforms
from cortend.core.limits import ImageLimits
from cortend.diff.apply import ChildApplier
from cortend.diff.archive import TarIndexer
from cortend.diff.archiver import ChildArchiver
from cortend.diff.comparer import ChildComparer
from cortend.diff.limits import Limits
from cortend.diff.recoder import ChildRecoder
from cortend.events.exchange import Exchange
from cortend.linux.process import boot_id
from cortend.logsinks.drivers import Drivers
from cortend.metadata.collector import StoreCollector
from cortend.metadata.content import NamespacedContent
from cortend.metadata.db import Database
from cortend.metadata.graph import StoreGraphs
from cortend.metadata.journal import JournalLimits
from cortend.metadata.snapshots import DatabaseSnapshotter
from cortend.network.bridge import BridgeNetwork, BridgeSettings
from cortend.recovery import Recovery
from cortend.registry.client import RegistryClient
from cortend.registry.source import WebSource
from cortend.runtime.facts import read_facts
from cortend.runtime.host import LinuxHost
from cortend.runtime.tasks import DEFAULT_RUNTIMES, Tasks
from cortend.runtime.verifier import DirectoryVerifier
from cortend.services.all import Services
from cortend.services.archive import ArchiveService
from cortend.services.collect import CollectService
from cortend.services.commit import CommitService
from cortend.services.container_logs import ContainerLogs
from cortend.services.containers import ContainerService
from cortend.services.download import Downloader
from cortend.services.events import EventService
from cortend.services.exec import ExecService
from cortend.services.fetch import FetchService
from cortend.services.followers import Followers
from cortend.services.image_catalog import ImageCatalog
from cortend.services.image_documents import DocumentStore
from cortend.services.image_load import ImageLoadService
from cortend.services.image_mounts import ImageMounts
from cortend.services.image_save import ImageSaveService
from cortend.services.images import ImageService
from cortend.services.launch import Launcher
from cortend.services.oci_spec import SpecBuilder
from cortend.services.plan import PlanService
from cortend.services.postmortem import PostmortemService
from cortend.services.pull import PullService
from cortend.services.push import PushService
from cortend.services.push_plan import PushPlanner
from cortend.services.registries import RegistryService
from cortend.services.settings import ContainerSettings
from cortend.services.snapshots import SnapshotService
from cortend.services.supervisor import Supervisor
from cortend.services.system import SystemService
from cortend.services.unpack import Unpacker
from cortend.services.volumes import VolumeService
from cortend.services.why import WhyService
from cortend.snapshots import erofs, overlay
from cortend.snapshots.erofs import ErofsDriver
from cortend.snapshots.native import NativeDriver
from cortend.snapshots.overlay import OverlayDriver
from cortend.volumes.local import LocalVolumes
from cortend.workers import ThreadWorkers

log = logging.getLogger(__name__)



@dataclass(slots=True)
class Application:
    """What the server serves, and what a reload changes."""

    asgi: ASGIApp
    registries: RegistryClient
    containers: ContainerService
    collect: CollectService
    downloader: Downloader
    pushes: PushService
    verifier: DirectoryVerifier

    def reload(self, old: Config, new: Config) -> None:
        """Take over the keys that `config.LIVE` names."""
        del old
        self.registries.configure(registry_settings(new))
        self.verifier.configure(verifier_settings(new))
        self.containers.configure(stop_timeout=new.containers.stop_timeout)
        self.collect.configure(collect_settings(new))
        self.downloader.configure(
            concurrent=new.pull.max_concurrent_downloads, attempts=new.pull.max_download_attempts
        )
        self.pushes.configure(concurrent=new.push.max_concurrent_uploads)


@asynccontextmanager
async def open_application(config: Config, status: Callable[[str], None]) -> AsyncIterator[Application]:
    """Build, recover, yield; see the module."""
    async with contextlib.AsyncExitStack() as stack:
        workers = ThreadWorkers()
        stack.callback(workers.close)
        limits.use(ImageLimits(**config.pull.limits.model_dump()))
        status("opening the stores")
        stores = open_stores(config, stack)
        status("probing the OCI runtimes")
        host = await open_host(config, workers, stack)
        collect = CollectService(
            collector=StoreCollector(stores.database, stores.content, list(stores.snapshotters.values())),
            workers=workers,
            settings=collect_settings(config),
        )
        imaging = build_imaging(config, stores, workers, collect)
        running = build_running(config, stores, host, imaging, workers, collect)
        for part in (running.followers, running.supervisor):
            stack.push_async_callback(part.close)
        system = await build_system(config, stores, host, imaging, running, workers)
        status("recovering")
        await running.recovery.run()
        why, plans = build_answers(stores, imaging, running, workers, collect)
        services = Services(
            containers=running.containers,
            execs=running.execs,
            fetches=FetchService(registries=imaging.registries),
            health=running.followers.health,
            archives=running.archives,
            images=imaging.images,
            saves=imaging.saves,
            loads=imaging.loads,
            comparer=imaging.comparer,
            commits=running.commits,
            pulls=imaging.pulls,
            pushes=imaging.pushes,
            registries=RegistryService(imaging.registries),
            volumes=running.volumes,
            system=system,
            checks=build_checks(
                root=config.root,
                database=stores.database,
                blobs=stores.blobs,
                content=stores.content,
                snapshotters=stores.snapshotters,
                registries=imaging.registries,
                documents=imaging.documents,
                downloader=imaging.downloader,
                unpacker=imaging.unpacker,
                runtime=host.tasks,
                tear_down=running.launcher.tear_down,
                workers=workers,
                request_gc=collect.request,
            ),
            collect=collect,
            postmortems=PostmortemService(metadata=stores.database, workers=workers),
            events=EventService(metadata=stores.database, exchange=stores.exchange, workers=workers),
            snapshots=imaging.snapshots,
            image_mounts=imaging.mounts,
            why=why,
            plans=plans,
            content=stores.content,
            snapshotters=stores.snapshotters,
            metadata=stores.database,
            network=host.network,
            runtime=host.tasks,
            workers=workers,
        )
        for work, name in ((collect.run(), "collector"), (running.logs.run(), "container logs")):
            stack.push_async_callback(_end, asyncio.create_task(work, name=name))
        collect.request()
        running.supervisor.background.spawn(running.recovery.start_by_policy(), "restart policies")
        yield Application(
            build_api(services), imaging.registries, running.containers, collect, imaging.downloader, imaging.pushes,
            imaging.verifier,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept on disk."""

    exchange: Exchange
    database: Database
    blobs: LocalBlobStore
    content: NamespacedContent
    snapshotters: dict[str, DatabaseSnapshotter]


def open_stores(config: Config, stack: contextlib.AsyncExitStack) -> Stores:
    """Database, content and snapshots."""
    exchange = Exchange()
    kept = JournalLimits(events=config.events.max_entries, age=int(config.events.max_age * 1_000_000_000))
    database = Database(config.root / "meta.db", exchange, journal=kept)
    stack.callback(database.close)
    blobs = LocalBlobStore(config.root / "content")
    content = NamespacedContent(database, blobs)
    return Stores(exchange, database, blobs, content, open_snapshotters(config, database, stack))


@dataclass(frozen=True, slots=True)
class Host:
    """What stands for the kernel and its programs."""

    network: BridgeNetwork
    tasks: Tasks
    boot_id: str


async def open_host(config: Config, workers: ThreadWorkers, stack: contextlib.AsyncExitStack) -> Host:
    """The network driver and the runtimes, which are probed."""
    network = open_network(config)
    stack.callback(network.close)
    tasks = open_tasks(config, workers)
    stack.callback(tasks.close)
    await tasks.probe()
    return Host(network, tasks, boot_id())


@dataclass(frozen=True, slots=True)
class Imaging:
    """Services that get, unpack and keep images."""

    registries: RegistryClient
    verifier: DirectoryVerifier
    downloader: Downloader
    pulls: PullService
    pushes: PushService
    images: ImageService
    saves: ImageSaveService
    loads: ImageLoadService
    snapshots: SnapshotService
    mounts: ImageMounts
    comparer: ChildComparer
    documents: DocumentStore
    unpacker: Unpacker
    catalog: ImageCatalog


def build_imaging(config: Config, stores: Stores, workers: ThreadWorkers, collect: CollectService) -> Imaging:
    """From the registry client to the image service."""
    registries = RegistryClient(registry_settings(config), user_agent=f"corten/{__version__}")
    documents = DocumentStore(stores.content, platforms.of_machine(platform.machine()))
    downloader = Downloader(
        content=stores.content,
        workers=workers,
        concurrent=config.pull.max_concurrent_downloads,
        attempts=config.pull.max_download_attempts,
    )
    allowed = limits.images()
    unpacked = Limits(data=allowed.layer_size, entries=allowed.layer_entries, ratio=allowed.layer_ratio)
    unpacker = Unpacker(
        content=stores.content,
        snapshotters=stores.snapshotters,
        applier=ChildApplier(unpacked),
        metadata=stores.database,
        workers=workers,
    )
    verifier = DirectoryVerifier(verifier_settings(config), workers)
    pulls = PullService(
        verifier=verifier,
        registries=registries,
        documents=documents,
        downloader=downloader,
        unpacker=unpacker,
        metadata=stores.database,
        workers=workers,
        snapshotter=config.snapshots.driver,
        request_gc=collect.request,
    )
    recoder = ChildRecoder(unpacked)
    images = ImageService(
        recoder=recoder,
        source=WebSource(user_agent=f"corten/{__version__}"),
        content=stores.content,
        documents=documents,
        unpacker=unpacker,
        metadata=stores.database,
        workers=workers,
        snapshotter=config.snapshots.driver,
        request_gc=collect.request,
    )
    catalog = ImageCatalog(stores.database, documents, unpacker.snapshotter(config.snapshots.driver))
    saves = ImageSaveService(
        metadata=stores.database, content=stores.content, documents=documents, catalog=catalog, workers=workers
    )
    pushes = PushService(
        registries=registries,
        planner=PushPlanner(stores.database, stores.content, documents, catalog),
        content=stores.content,
        metadata=stores.database,
        workers=workers,
        concurrent=config.push.max_concurrent_uploads,
    )
    loads = ImageLoadService(
        metadata=stores.database,
        content=stores.content,
        documents=documents,
        unpacker=unpacker,
        reader=TarIndexer(),
        recoder=recoder,
        request_gc=collect.request,
        workers=workers,
        snapshotter=config.snapshots.driver,
        directory=config.root,
    )
    comparer = ChildComparer(config.state / "compare", unpacked)
    snapshots = SnapshotService(
        metadata=stores.database,
        content=stores.content,
        snapshotters=stores.snapshotters,
        documents=documents,
        unpacker=unpacker,
        comparer=comparer,
        workers=workers,
        default=config.snapshots.driver,
        request_gc=collect.request,
    )
    mounts = ImageMounts(metadata=stores.database, images=images, snapshots=snapshots, workers=workers)
    return Imaging(
        registries, verifier, downloader, pulls, pushes, images, saves, loads, snapshots, mounts, comparer, documents,
        unpacker, catalog,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Running:
    """Services that make, run and recover containers."""

    settings: ContainerSettings
    volume_store: LocalVolumes
    volumes: VolumeService
    logs: ContainerLogs
    supervisor: Supervisor
    containers: ContainerService
    execs: ExecService
    followers: Followers
    archives: ArchiveService
    commits: CommitService
    recovery: Recovery
    launcher: Launcher


def build_running(
    config: Config, stores: Stores, host: Host, imaging: Imaging, workers: ThreadWorkers, collect: CollectService
) -> Running:
    """From volumes to recovery."""
    metadata, tasks = stores.database, host.tasks
    settings = ContainerSettings(
        data=config.root / "containers",
        snapshotter=config.snapshots.driver,
        stop_timeout=config.containers.stop_timeout,
        dns=config.network.dns,
        log=log_defaults(config),
    )
    volume_store = LocalVolumes(config.root / "volumes")
    volumes = VolumeService(store=volume_store, metadata=metadata, workers=workers)
    specs = SpecBuilder(
        host=LinuxHost(), metadata=metadata, runtime=tasks, volumes=volumes, init_path=find_init(config)
    )
    launcher = Launcher(
        settings=settings,
        metadata=metadata,
        snapshotters=stores.snapshotters,
        network=host.network,
        runtime=tasks,
        workers=workers,
        specs=specs,
    )
    logs = ContainerLogs(
        settings=settings, sinks=Drivers(journal=str(config.logs.journal)), runtime=tasks, workers=workers
    )
    supervisor = Supervisor(
        settings=settings, metadata=metadata, runtime=tasks, launcher=launcher, logs=logs, workers=workers,
        boot_id=host.boot_id,
    )  # fmt: skip
    containers = ContainerService(
        settings=settings,
        metadata=metadata,
        snapshotters=stores.snapshotters,
        images=imaging.images,
        volumes=volumes,
        runtime=tasks,
        supervisor=supervisor,
        logs=logs,
        specs=specs,
        workers=workers,
        request_gc=collect.request,
    )
    execs = ExecService(
        containers=containers,
        metadata=metadata,
        runtime=tasks,
        specs=specs,
        workers=workers,
        background=supervisor.background,
    )
    followers = Followers(metadata=metadata, runtime=tasks, containers=containers, execs=execs, workers=workers)
    supervisor.followers.append(followers)
    archives = ArchiveService(
        archiver=ChildArchiver(),
        comparer=imaging.comparer,
        containers=containers,
        volumes=volumes,
        metadata=metadata,
        snapshotters=stores.snapshotters,
        runtime=tasks,
        supervisor=supervisor,
        workers=workers,
    )
    commits = CommitService(
        comparer=imaging.comparer,
        containers=containers,
        supervisor=supervisor,
        metadata=metadata,
        content=stores.content,
        documents=imaging.documents,
        unpacker=imaging.unpacker,
        snapshotters=stores.snapshotters,
        workers=workers,
    )
    recovery = Recovery(
        settings=settings,
        metadata=metadata,
        snapshotters=stores.snapshotters,
        network=host.network,
        runtime=tasks,
        launcher=launcher,
        supervisor=supervisor,
        containers=containers,
        volumes=volumes,
        workers=workers,
        boot_id=host.boot_id,
    )
    return Running(
        settings, volume_store, volumes, logs, supervisor, containers, execs, followers, archives, commits,
        recovery, launcher,
    )  # fmt: skip


def build_answers(
    stores: Stores, imaging: Imaging, running: Running, workers: ThreadWorkers, collect: CollectService
) -> tuple[WhyService, PlanService]:
    """Services that ask the collector's graph."""
    database, graphs, volumes = stores.database, StoreGraphs(stores.database), running.volume_store
    why = WhyService(
        metadata=database, graphs=graphs, volumes=volumes, workers=workers, next_run=collect.next_run
    )
    plans = PlanService(
        metadata=database, graphs=graphs, catalog=imaging.catalog, containers=running.containers,
        settings=running.settings, volumes=running.volumes, volume_store=volumes, content=stores.content,
        snapshots=imaging.snapshots, workers=workers,
    )  # fmt: skip
    return why, plans


async def build_system(
    config: Config, stores: Stores, host: Host, imaging: Imaging, running: Running, workers: ThreadWorkers
) -> SystemService:
    """What the engine says of itself."""
    return SystemService(
        version=__version__,
        root=config.root,
        snapshotter=config.snapshots.driver,
        insecure_registries=imaging.registries.insecure,
        metadata=stores.database,
        runtime=host.tasks,
        facts=read_facts,
        containers=running.containers,
        workers=workers,
        engine_id=await workers.run(engine_id, config.root),
    )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def open_snapshotters(
    config: Config, database: Database, stack: contextlib.AsyncExitStack
) -> dict[str, DatabaseSnapshotter]:
    """Every snapshotter that works here. Raises Unavailable when the configured one does not."""
    root = config.root / "snapshots"
    found: dict[str, DatabaseSnapshotter] = {"native": DatabaseSnapshotter(database, NativeDriver(root / "native"))}
    if config.snapshots.driver == "overlayfs" or overlay.supported(root):
        found["overlayfs"] = DatabaseSnapshotter(database, OverlayDriver(root / "overlayfs"))
    try:
        erofs.require_support(root)
    except Unavailable as error:
        if config.snapshots.driver == "erofs":
            raise
        log.info("no erofs snapshotter: %s", error.message)
    else:
        driver = ErofsDriver(root / "erofs")
        stack.callback(driver.close)
        found["erofs"] = DatabaseSnapshotter(database, driver)
    return found


def open_network(config: Config) -> BridgeNetwork:
    """The default bridge."""
    return BridgeNetwork(
        BridgeSettings(
            state_root=config.state,
            interface=config.network.bridge,
            subnet=config.network.subnet,
            mtu=config.network.mtu,
            table=config.network.nft_table,
        )
    )


def open_tasks(config: Config, workers: ThreadWorkers) -> Tasks:
    """conmon and the OCI runtimes."""
    programs: Mapping[str, str] = {
        **DEFAULT_RUNTIMES,
        **{name: runtime.path or name for name, runtime in config.runtime.runtimes.items()},
    }
    return Tasks(
        state_root=config.state,
        workers=workers,
        runtimes=programs,
        default=config.runtime.default,
        conmon=config.runtime.conmon or "conmon",
        cgroup_parent=config.runtime.cgroup_parent,
    )
