"""Everything an API surface may call, in one value that the composition root fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cortend.core.content import ContentStore
from cortend.core.diff import Comparer
from cortend.core.metadata import Metadata
from cortend.core.network import NetworkDriver
from cortend.core.runtime import TaskRuntime
from cortend.core.snapshots import Snapshotter
from cortend.core.workers import Workers
from cortend.services.archive import ArchiveService
from cortend.services.check import CheckService
from cortend.services.collect import CollectService
from cortend.services.commit import CommitService
from cortend.services.containers import ContainerService
from cortend.services.events import EventService
from cortend.services.exec import ExecService
from cortend.services.fetch import FetchService
from cortend.services.health import HealthMonitor
from cortend.services.image_load import ImageLoadService
from cortend.services.image_mounts import ImageMounts
from cortend.services.image_save import ImageSaveService
from cortend.services.images import ImageService
from cortend.services.plan import PlanService
from cortend.services.postmortem import PostmortemService
from cortend.services.pull import PullService
from cortend.services.push import PushService
from cortend.services.registries import RegistryService
from cortend.services.snapshots import SnapshotService
from cortend.services.system import SystemService
from cortend.services.volumes import VolumeService
from cortend.services.why import WhyService


@dataclass(frozen=True, slots=True)
class Services:
    """The engine's use cases, and the stores that the native API shows as they are."""

    containers: ContainerService
    execs: ExecService
    fetches: FetchService
    health: HealthMonitor
    archives: ArchiveService
    images: ImageService
    saves: ImageSaveService
    loads: ImageLoadService
    comparer: Comparer
    commits: CommitService
    pulls: PullService
    pushes: PushService
    registries: RegistryService
    volumes: VolumeService
    system: SystemService
    checks: CheckService
    collect: CollectService
    events: EventService
    postmortems: PostmortemService
    snapshots: SnapshotService
    image_mounts: ImageMounts
    why: WhyService
    plans: PlanService
    content: ContentStore
    snapshotters: Mapping[str, Snapshotter]
    metadata: Metadata
    network: NetworkDriver
    runtime: TaskRuntime
    workers: Workers
