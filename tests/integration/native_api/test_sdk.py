"""The SDK as a user would use it, against the real daemon, runtime and registry."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

import corten
from daemon import Cortend
from images import busybox_image, make_layer, push_to_registry
from support_registry import Registry

pytestmark = pytest.mark.root


def test_run_returns_exit_code_and_output(client: corten.Client) -> None:
    result = client.run("busybox", ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert result == (7, b"out\n", b"err\n")
    assert client.containers.list() == []


def test_run_pulls_what_is_not_here(client: corten.Client, registry: Registry) -> None:
    push_to_registry(busybox_image(), registry.host, "tools/bb", "1")
    name = f"{registry.host}/tools/bb:1"
    assert client.run(name, ["echo", "hi"]).output == b"hi\n"
    assert name in [image.name for image in client.images.list()]
    detail = client.images.get(name)
    assert detail.names == [name]
    assert {line.action for line in client.images.remove(name)} == {"Untagged", "Deleted"}


def test_pull_yields_progress_and_ends_with_the_image(client: corten.Client, registry: Registry) -> None:
    image_there = busybox_image(make_layer([("motd", b"of this test alone")]))
    push_to_registry(image_there, registry.host, "bb", "2")
    progress = list(client.images.pull(f"{registry.host}/bb:2"))
    assert "Pull complete" in [line.status for line in progress]
    image = progress[-1].image
    assert image is not None
    assert image.name == f"{registry.host}/bb:2"
    client.images.remove(image.name)


def test_pull_errors_have_their_class(client: corten.Client, registry: Registry) -> None:
    with pytest.raises(corten.NotFound):
        next(client.images.pull(f"{registry.host}/none:1"))
    with pytest.raises(corten.Unavailable):
        next(client.images.pull("127.0.0.1:1/x"))
    with pytest.raises(corten.InvalidArgument):
        next(client.images.pull("UPPER case"))


def test_container_and_task_from_create_to_remove(client: corten.Client) -> None:
    spec = corten.ContainerSpec(env=["GREETING=hello"], resources=corten.Resources(memory=64 << 20, pids=32))
    script = "echo $GREETING; exec sleep 60"
    created = client.containers.create("busybox", ["sh", "-c", script], name="life", spec=spec, labels={"a": "b"})
    assert created.container.labels == {"a": "b"}
    with pytest.raises(corten.NotFound, match="has no task"):
        client.tasks.get("life")
    assert client.tasks.start("life").status == "running"
    with pytest.raises(corten.NotModified):
        client.tasks.start("life")
    with pytest.raises(corten.Conflict):
        client.containers.remove("life")
    log = client.tasks.logs("life", follow=True)
    assert next(log).raw == b"hello\n"
    metrics = client.tasks.metrics("life")
    assert metrics.memory_limit == 64 << 20
    assert metrics.pids_limit == 32
    assert [process.command for process in client.tasks.processes("life")] == ["sleep 60"]
    client.tasks.pause("life")
    assert client.tasks.get("life").status == "paused"
    client.tasks.resume("life")
    client.tasks.kill("life", "SIGKILL")
    assert client.tasks.wait("life").exit_code == 137
    assert list(log) == []
    client.tasks.remove("life")
    assert client.containers.get("life").task is None
    client.containers.remove("life")
    with pytest.raises(corten.NotFound, match="life"):
        client.containers.get("life")


def test_bytes_that_are_no_text_come_back_exactly(client: corten.Client) -> None:
    result = client.run("busybox", ["sh", "-c", r"printf '\377\000\302\205\nx\n'"])
    assert result.output == b"\xff\x00\xc2\x85\nx\n"


def test_content_is_read_whole_and_in_part(client: corten.Client) -> None:
    blobs = client.content.list()
    largest = max(blobs, key=lambda blob: blob.size)
    whole = b"".join(client.content.chunks(largest.digest))
    assert len(whole) == largest.size
    assert client.content.read(largest.digest, 100, 50) == whole[100:150]
    assert client.content.label(largest.digest, {"x": "1"}).labels["x"] == "1"
    assert "x" not in client.content.label(largest.digest, {"x": None}).labels
    with pytest.raises(corten.NotFound):
        client.content.get("sha256:" + "0" * 64)


def test_snapshots_of_an_image_are_shown(client: corten.Client) -> None:
    (found, *_) = client.snapshots.list()
    assert client.snapshots.get(found.name) == found
    assert client.snapshots.usage(found.name).size > 0
    assert client.snapshots.mounts(found.name)
    with pytest.raises(corten.NotFound, match="there are"):
        try:
            client.snapshots.list("nope")
        except corten.NotFound as error:
            raise corten.NotFound(f"{error} {error.hint}") from error


def test_a_snapshot_is_made_and_compared(client: corten.Client, tmp_path: Path) -> None:
    for driver in ("overlayfs", "native", "erofs"):
        (mount,) = client.snapshots.prepare("sdk-a", labels={"gc.root": "x"}, snapshotter=driver)
        (Path(mount.source) / "file").write_text("text")
        assert client.snapshots.commit("sdk-b", "sdk-a", snapshotter=driver).kind == "committed"
        assert client.snapshots.label("sdk-b", {"k": "v"}, driver).labels == {"gc.root": "x", "k": "v"}
        assert client.snapshots.view("sdk-c", "sdk-b", labels={"gc.root": "x"}, snapshotter=driver)
        plain = "application/vnd.oci.image.layer.v1.tar"
        layer = b"".join(client.snapshots.diff("sdk-c", "", media_type=plain, snapshotter=driver))
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            assert "file" in tar.getnames()
        client.snapshots.remove("sdk-c", driver)
        client.snapshots.remove("sdk-b", driver)
        assert client.snapshots.cleanup(driver).removed == 0
    (record,) = (found for found in client.images.list() if found.name.endswith("/busybox:latest"))
    *_, last = client.snapshots.unpack(record.target.digest)
    assert client.snapshots.get(last.id or "").kind == "committed"
    assert client.images.mount("busybox", str(tmp_path)).target == str(tmp_path)
    assert (tmp_path / "bin" / "busybox").exists()
    client.images.unmount(str(tmp_path))


def test_namespaces_keep_names_apart(cortend: Cortend, client: corten.Client) -> None:
    client.namespaces.create("team-a", {"owner": "a"})
    with pytest.raises(corten.AlreadyExists):
        client.namespaces.create("team-a")
    with corten.Client(cortend.host, namespace="team-a") as other:
        assert other.images.list() == []
        lease = other.leases.create("keep")
        assert [found.id for found in other.leases.list()] == [lease.id]
        assert client.leases.list() == []
        with pytest.raises(corten.Conflict):
            client.namespaces.remove("team-a")
        other.leases.remove("keep")
    assert client.namespaces.label("team-a", {"owner": None}).labels == {}
    client.namespaces.remove("team-a")
    assert "team-a" not in [namespace.name for namespace in client.namespaces.list()]


def test_events_tell_a_run_in_order(client: corten.Client) -> None:
    before = max((event.seq for event in client.events(follow=False)), default=0)
    client.run("busybox", ["true"])
    events = [event for event in client.events(follow=False) if event.seq > before]
    topics = [event.topic for event in events]
    assert topics == ["/containers/create", "/tasks/start", "/tasks/exit", "/containers/delete"]
    assert events[2].attributes["exit_code"] == "0"
    only = [event.topic for event in client.events(follow=False, topics=["/tasks/"]) if event.seq > before]
    assert only == ["/tasks/start", "/tasks/exit"]


def test_async_client_follows_events_while_containers_run(cortend: Cortend) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), corten.AsyncClient(cortend.host) as client:
            created = await client.containers.create("busybox", ["true"])
            before = created.container.created_at
            events = client.events(since="2020-01-01T00:00:00Z", topics=["/tasks/"])
            await client.tasks.start(created.container.id)
            async for event in events:
                if event.time >= before and event.topic == "/tasks/exit":
                    break
            results = await asyncio.gather(*(client.run("busybox", ["sh", "-c", f"exit {n}"]) for n in range(3)))
            assert [result.exit_code for result in results] == [0, 1, 2]
            await client.containers.remove(created.container.id)

    asyncio.run(main())


def test_engine_describes_itself(client: corten.Client) -> None:
    info = client.info()
    assert info.default_runtime in [runtime.name for runtime in info.runtimes if runtime.usable]
    assert client.version().version == corten.__version__
    assert client.collect_garbage().bytes_freed >= 0


def test_ingest_is_begun_resumed_and_committed(client: corten.Client) -> None:
    digest = "sha256:" + hashlib.sha256(b"in pieces").hexdigest()
    assert client.content.begin("sdk", b"in ", expected=digest).offset == 3
    with pytest.raises(corten.Conflict) as caught:
        client.content.resume("sdk", b"x", 1, expected=digest)
    assert caught.value.details == {"offset": 3}
    assert client.content.resume("sdk", b"pieces", client.content.status("sdk").offset, expected=digest).offset == 9
    blob = client.content.commit("sdk", expected=digest, labels={"containerd.io/gc.root": "x", "of": "sdk"})
    assert (blob.digest, client.content.read(digest)) == (digest, b"in pieces")
    assert [found.digest for found in client.content.list(filters=["labels.of==sdk"])] == [digest]
    client.content.remove(digest)


def test_objects_of_a_registry_are_fetched(client: corten.Client, registry: Registry) -> None:
    push_to_registry(busybox_image(), registry.host, "sdk/fetched", "1")
    manifest = b"".join(client.content.fetch(f"{registry.host}/sdk/fetched:1"))
    layer = json.loads(manifest)["layers"][0]["digest"]
    data = b"".join(client.content.fetch(f"{registry.host}/sdk/fetched", layer))
    assert "sha256:" + hashlib.sha256(data).hexdigest() == layer


def test_images_and_containers_are_labelled_and_checked(client: corten.Client) -> None:
    client.images.tag("busybox", "sdk/labelled:1")
    assert client.images.label("sdk/labelled:1", {"a": "1"}).labels == {"a": "1"}
    (found,) = client.images.list(filters=["labels.a==1"])
    assert [image.status for image in client.images.check(filters=[f"name=={found.name}"])] == ["complete"]
    assert client.images.usage(found.name).snapshots > 0
    client.images.remove(found.name)
    client.containers.create("busybox", ["true"], name="labelled", labels={"x": "y"})
    assert client.containers.label("labelled", {"x": None, "z": "1"}).container.labels == {"z": "1"}
    assert [one.container.name for one in client.containers.list(filters=["labels.z"])] == ["labelled"]
    assert {plugin.id for plugin in client.plugins(filters=["type==snapshotter"])} >= {"native", "overlayfs"}


def test_execs_for_asyncio(cortend: Cortend, client: corten.Client) -> None:
    client.containers.create("busybox", ["sleep", "100"], name="execs")
    client.tasks.start("execs")

    async def main() -> None:
        async with asyncio.timeout(60), corten.AsyncClient(cortend.host) as other:
            made = await other.tasks.exec_create("execs", ["sh", "-c", "exit 6"], id="mine")
            assert (made.id, made.exit_code) == ("mine", None)
            await other.tasks.exec_start("mine")
            assert (await other.tasks.exec_wait("mine")).exit_code == 6
            assert [one.id for one in await other.tasks.execs("execs")] == ["mine"]
            assert (await other.tasks.exec_remove("mine")).exit_code == 6
            await other.tasks.exec_create("execs", ["sleep", "99"], id="long")
            await other.tasks.exec_start("long")
            await other.tasks.exec_kill("long", "SIGKILL")
            assert (await other.tasks.exec_wait("long")).exit_code == 137

    asyncio.run(main())
