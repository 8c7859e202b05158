"""Bringing a container's process up, and taking down what it ran in.

Up: address and ports are reserved in the database first, then the root file system is mounted while the network
namespace is made, then conmon and the OCI runtime create the process, which waits. While they do, the veth is
connected.

Down: in the opposite order, every step idempotent, so that recovery can call it for what a crash left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
from collections.abc import Mapping
from pathlib import Path

from corten_shared.errors import Conflict, CortenError, InvalidArgument
from corten_shared.models.container import ContainerRecord, PortMapping
from corten_shared.models.network import Endpoint
from corten_shared.models.snapshot import Mount
from cortend.core.metadata import Metadata
from cortend.core.network import NetworkDriver
from cortend.core.runtime import IO, Handle, TaskKey, TaskRuntime
from cortend.core.snapshots import Snapshotter
from cortend.core.workers import Workers
from cortend.services import hostfiles
from cortend.services.logfiles import LOG_NAME
from cortend.services.oci_spec import PINNED, SpecBuilder, pinned
from cortend.services.settings import ContainerSettings

log = logging.getLogger(__name__)


class Launcher:
    """Makes processes of containers. The caller holds the container's lock."""

    def __init__(
        self,
        *,
        settings: ContainerSettings,
        metadata: Metadata,
        snapshotters: Mapping[str, Snapshotter],
        network: NetworkDriver,
        runtime: TaskRuntime,
        workers: Workers,
        specs: SpecBuilder,
    ) -> None:
        self._settings = settings
        self._metadata = metadata
        self._snapshotters = snapshotters
        self._network = network
        self._runtime = runtime
        self._workers = workers
        self._specs = specs

    async def create(self, key: TaskKey, record: ContainerRecord) -> tuple[Handle, Endpoint | None]:
        """Have the container's process created, connected and waiting for `start`; on failure nothing is left."""
        try:
            return await self._create(key, record)
        except BaseException:
            await asyncio.shield(self.tear_down(key, record.spec.runtime))
            raise

    async def _create(self, key: TaskKey, record: ContainerRecord) -> tuple[Handle, Endpoint | None]:
        endpoint = await self._workers.run(self._reserve, key, record)
        snapshotter = self._snapshotters[record.snapshotter]
        mounts = await self._workers.run(snapshotter.mounts, key.ns, record.snapshot_key)
        if record.spec.rootfs:
            mounts = [Mount(type="bind", source=record.spec.rootfs, options=["rbind", "rw"])]
        namespace = asyncio.create_task(self._namespace(endpoint))
        try:
            bundle = await self._runtime.prepare(key, mounts)
        finally:
            await asyncio.wait([namespace])
        netns = namespace.result()
        target = await self._shared_network(key, record)
        files = await self._workers.run(self._write_files, key, record, endpoint)
        spec = await self._workers.run(self._specs.build, key, record, bundle, netns or target, files)
        connected = asyncio.create_task(self._connect(endpoint))
        try:
            handle = await self._runtime.create(key, spec, self._io(key, record), runtime=record.spec.runtime)
        finally:
            await asyncio.wait([connected])
        return handle, connected.result()

    async def tear_down(self, key: TaskKey, runtime: str = "") -> None:
        """Free everything a task ran in: processes, mounts, bundle, network. Idempotent; says what it could not do."""
        try:
            await self._runtime.delete(key, runtime=runtime)
        except CortenError as error:
            log.error("task %s/%s is not cleared: %s", key.ns, key.id, error)
        await self._workers.run(self._release, key)

    def _reserve(self, key: TaskKey, record: ContainerRecord) -> Endpoint | None:
        """An address and host ports for the container, written down before anybody uses them."""
        network = record.spec.network
        if network.mode not in ("bridge", "none"):
            return None
        bridge = self._network.network()
        netns = self._network.namespace_path(_netns_name(key))
        if network.mode == "none":
            endpoint = Endpoint(container_id=record.id, network="none", netns=netns)
            with self._metadata.update() as tx:
                tx.endpoints.put(key.ns, endpoint)
            return endpoint
        with self._metadata.update() as tx:
            live = [endpoint for _, endpoint in tx.endpoints.list() if endpoint.container_id != record.id]
            taken = {endpoint.address for endpoint in live if endpoint.network == bridge.name}
            endpoint = Endpoint(
                container_id=record.id,
                network=bridge.name,
                netns=netns,
                address=self._network.allocate(taken, tx.endpoints.last_address(bridge.name)),
                prefix=int(bridge.subnet.partition("/")[2]),
                gateway=bridge.gateway,
                mac=network.mac_address,
                ports=self._ports(record, live),
            )
            tx.endpoints.put(key.ns, endpoint)
        return endpoint

    def _ports(self, record: ContainerRecord, live: list[Endpoint]) -> list[PortMapping]:
        wanted = list(record.spec.network.ports)
        if record.spec.network.publish_all:
            given = {(port.container_port, port.protocol) for port in wanted}
            wanted += [port for port in map(_exposed, record.spec.network.exposed) if _pair(port) not in given]
        if not wanted:
            return []
        taken = [port for endpoint in live for port in endpoint.ports]
        try:
            return self._network.allocate_ports(wanted, taken)
        except Conflict as error:
            raise Conflict(
                f"driver failed programming external connectivity on endpoint {record.name} ({record.id}): {error}",
                hint=error.hint or "choose another host port, or stop what uses this one",
            ) from error

    async def _namespace(self, endpoint: Endpoint | None) -> str:
        if endpoint is None:
            return ""
        return await self._workers.run(self._network.create_namespace, Path(endpoint.netns).name)

    async def _connect(self, endpoint: Endpoint | None) -> Endpoint | None:
        if endpoint is None or not endpoint.address:
            return endpoint
        return await self._workers.run(self._network.connect, endpoint)

    async def _shared_network(self, key: TaskKey, record: ContainerRecord) -> str:
        """The network namespace's path for `container:X`; empty for the host's."""
        mode = record.spec.network.mode
        if mode.startswith(PINNED):
            return await self._workers.run(pinned, mode)
        if mode == "host" or not mode.startswith("container:"):
            return ""
        reference = mode.partition(":")[2]

        def find() -> str:
            with self._metadata.view() as tx:
                other = tx.containers.find(key.ns, reference)
                task = tx.tasks.find(key.ns, other.id)
                if task is None or task.pid is None or not self._runtime.is_alive(task.pid):
                    raise Conflict(f"cannot join network of a non running container: {other.id}")
                return f"/proc/{task.pid.pid}/ns/net"

        return await self._workers.run(find)

    def _write_files(self, key: TaskKey, record: ContainerRecord, endpoint: Endpoint | None) -> dict[str, Path]:
        """Write /etc/hostname, hosts and resolv.conf for this start; returns where they are, by path inside."""
        spec = record.spec
        directory = self._settings.directory(*key)
        self._settings.logs(*key).mkdir(mode=0o700, parents=True, exist_ok=True)
        own = spec.network.mode != "host"
        hostname = spec.hostname or (record.id[:12] if own else platform.node())
        address, gateway = (endpoint.address, endpoint.gateway) if endpoint else ("", "")
        texts = {
            "/etc/hostname": f"{hostname}\n",
            "/etc/hosts": hostfiles.hosts(spec, hostname, address, gateway),
            "/etc/resolv.conf": hostfiles.resolv_conf(
                spec, hostfiles.read_host_resolv_conf(), self._settings.dns, own_network=own
            ),
        }
        paths = {}
        for inside, text in texts.items():
            path = directory / Path(inside).name
            path.write_text(text)
            path.chmod(0o644)
            paths[inside] = path
        return paths

    def _io(self, key: TaskKey, record: ContainerRecord) -> IO:
        spec = record.spec
        keep = None if spec.log.driver == "none" else self._settings.logs(*key) / LOG_NAME
        return IO(terminal=spec.tty, stdin=spec.open_stdin, stdin_once=spec.stdin_once, log_path=keep)

    def _release(self, key: TaskKey) -> None:
        with self._metadata.view() as tx:
            endpoint = tx.endpoints.find(*key)
        if endpoint is None:
            return
        with contextlib.ExitStack() as stack:
            stack.callback(self._forget, key, endpoint)
            stack.callback(self._network.delete_namespace, endpoint.netns)
            if endpoint.address:
                stack.callback(self._network.disconnect, endpoint)

    def _forget(self, key: TaskKey, endpoint: Endpoint) -> None:
        with self._metadata.update() as tx:
            tx.endpoints.delete(key.ns, endpoint.container_id)


def _netns_name(key: TaskKey) -> str:
    return f"{key.ns}-{key.id[:32]}"


def _pair(port: PortMapping) -> tuple[int, str]:
    return port.container_port, port.protocol


def _exposed(text: str) -> PortMapping:
    """`80/tcp` as a port to publish at random."""
    number, _, protocol = text.partition("/")
    try:
        return PortMapping.model_validate({"container_port": int(number), "protocol": protocol or "tcp"})
    except ValueError as error:
        raise InvalidArgument(f"invalid exposed port {text[:40]!r}") from error
