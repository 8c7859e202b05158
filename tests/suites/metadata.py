"""What every `core.metadata.Metadata` does.

A test class inherits `MetadataSuite` and gives the fixtures `metadata`, an empty one, and `published`, the list of the
events that its exchange got.
"""

from __future__ import annotations

import threading

import pytest

from corten_shared import digest as digests
from corten_shared.errors import AlreadyExists, Conflict, Internal, InvalidArgument, NotFound
from corten_shared.models.container import ContainerRecord, ContainerSpec, PortMapping
from corten_shared.models.event import Event
from corten_shared.models.image import ImageRecord
from corten_shared.models.lease import Lease, Resource
from corten_shared.models.namespace import Namespace
from corten_shared.models.network import Endpoint
from corten_shared.models.oci import OCI_MANIFEST, Descriptor
from corten_shared.models.task import ProcessId, TaskRecord, TaskStatus
from cortend.core.metadata import Metadata, Transaction

NS = "default"
ID_A, ID_B, ID_C = "aa11" + "0" * 60, "aa22" + "0" * 60, "bb33" + "0" * 60


def new_container(container_id: str, name: str = "", created_at: int = 1_700_000_000_123_456_789) -> ContainerRecord:
    """A container with something in every part of its record."""
    return ContainerRecord(
        id=container_id,
        name=name,
        image="busybox",
        image_digest=digests.of(b"manifest"),
        snapshotter="overlayfs",
        snapshot_key=container_id,
        labels={"a": "b"},
        spec=ContainerSpec(args=["sh", "-c", "echo ünï"], env=["A=B"], stop_timeout=3),
        extensions={"docker": {"HostConfig": {"Memory": 5, "Binds": None}}},
        created_at=created_at,
        updated_at=created_at,
    )


def new_image(name: str, data: bytes = b"manifest") -> ImageRecord:
    """An image with a complete descriptor."""
    target = Descriptor(
        media_type=OCI_MANIFEST, digest=digests.of(data), size=len(data), annotations={"k": "v"}
    )
    return ImageRecord(name=name, target=target, labels={"l": "1"}, created_at=5, updated_at=6)


def new_endpoint(container_id: str, address: str, network: str = "bridge") -> Endpoint:
    """An endpoint with a published port."""
    ports = [PortMapping(container_port=80, host_port=8080)]
    return Endpoint(container_id=container_id, network=network, netns="/run/x", address=address, prefix=16, ports=ports)


def add_container(tx: Transaction, container_id: str, name: str = "", created_at: int = 1) -> ContainerRecord:
    """Create a container."""
    record = new_container(container_id, name, created_at)
    tx.containers.create(NS, record)
    return record


class MetadataSuite:
    """The conformance suite."""

    # transactions

    def test_what_an_update_wrote_is_seen_by_later_views(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            tx.images.create(NS, new_image("x"))
            assert tx.images.get(NS, "x") == new_image("x")
        with metadata.view() as tx:
            assert tx.images.get(NS, "x") == new_image("x")

    def test_an_update_that_raises_leaves_nothing(self, metadata: Metadata, published: list[Event]) -> None:
        with pytest.raises(ZeroDivisionError), metadata.update() as tx:
            tx.images.create(NS, new_image("x"))
            tx.emit(NS, "/images/create", "x")
            raise ZeroDivisionError
        with metadata.view() as tx:
            assert tx.images.list(NS) == []
            assert tx.events.list() == []
        assert published == []

    def test_an_error_handled_inside_keeps_the_rest(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            tx.images.create(NS, new_image("x"))
            with pytest.raises(AlreadyExists):
                tx.images.create(NS, new_image("x"))
            tx.images.create(NS, new_image("y"))
        with metadata.view() as tx:
            assert [image.name for image in tx.images.list(NS)] == ["x", "y"]

    def test_a_view_is_of_one_moment_and_waits_for_no_writer(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            tx.images.create(NS, new_image("x"))
        with metadata.view() as before:
            assert len(before.images.list(NS)) == 1
            writing, go_on = threading.Event(), threading.Event()

            def write() -> None:
                with metadata.update() as tx:
                    tx.images.create(NS, new_image("y"))
                    writing.set()
                    go_on.wait(30)

            thread = threading.Thread(target=write)
            thread.start()
            assert writing.wait(30)
            with metadata.view() as during:
                assert len(during.images.list(NS)) == 1
            go_on.set()
            thread.join()
            assert len(before.images.list(NS)) == 1
        with metadata.view() as after:
            assert len(after.images.list(NS)) == 2

    def test_updates_of_many_threads_go_one_after_the_other(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            tx.images.create(NS, new_image("counter"))

        def count() -> None:
            for _ in range(25):
                with metadata.update() as tx:
                    value = int(tx.images.get(NS, "counter").labels.get("n", "0"))
                    tx.images.update(NS, "counter", {"n": str(value + 1)})

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with metadata.view() as tx:
            assert tx.images.get(NS, "counter").labels["n"] == "100"

    def test_a_transaction_is_not_used_after_its_end(self, metadata: Metadata) -> None:
        with metadata.view() as tx:
            images = tx.images
        with pytest.raises(Internal):
            images.list(NS)

    def test_a_transaction_is_not_used_on_another_thread(self, metadata: Metadata) -> None:
        caught: list[BaseException] = []

        def intrude(tx: Transaction) -> None:
            try:
                tx.images.list(NS)
            except Internal as error:
                caught.append(error)

        with metadata.update() as tx:
            thread = threading.Thread(target=intrude, args=(tx,))
            thread.start()
            thread.join()
        assert len(caught) == 1

    def test_an_update_within_an_update_is_refused_and_does_not_hang(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            with pytest.raises(Internal, match="within"), metadata.update():
                pass
            tx.images.create(NS, new_image("x"))
        with metadata.view() as tx:
            assert len(tx.images.list(NS)) == 1

    # events

    def test_events_are_published_after_the_commit_in_its_order(
        self, metadata: Metadata, published: list[Event]
    ) -> None:
        with metadata.update() as tx:
            tx.emit("a", "/tasks/start", "1", {"pid": "7"})
            tx.emit("b", "/tasks/exit", "2")
            assert published == []
        with metadata.view() as tx:
            journal = tx.events.list()
        assert published == journal
        assert [(event.namespace, event.topic, event.object_id) for event in journal] == [
            ("a", "/tasks/start", "1"),
            ("b", "/tasks/exit", "2"),
        ]
        assert journal[0].attributes == {"pid": "7"}
        assert 0 < journal[0].seq < journal[1].seq

    def test_the_journal_is_read_from_a_number_and_between_times(self, metadata: Metadata) -> None:
        for topic in ("/a", "/b", "/c"):
            with metadata.update() as tx:
                tx.emit(NS, topic, "x")
        with metadata.view() as tx:
            first, second, third = tx.events.list()
            assert tx.events.list(after_seq=first.seq) == [second, third]
            assert tx.events.list(since=second.time, until=third.time) == [
                event for event in (first, second, third) if second.time <= event.time < third.time
            ]
            assert tx.events.list(until=0) == []
            assert tx.events.list(since=1 << 80) == []

    # namespaces

    def test_namespaces_come_into_being_by_themselves(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            tx.images.create("fresh", new_image("x"))
            tx.namespaces.ensure("other")
            tx.namespaces.ensure("other")
        with metadata.view() as tx:
            assert [namespace.name for namespace in tx.namespaces.list()] == ["default", "fresh", "other"]

    def test_a_namespace_that_holds_something_stays(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            tx.namespaces.create(Namespace(name="full", labels={"a": "b"}, created_at=7))
            tx.images.create("full", new_image("x"))
            with pytest.raises(Conflict, match="1 images"):
                tx.namespaces.delete("full")
            tx.images.delete("full", "x")
            tx.namespaces.delete("full")
            with pytest.raises(NotFound):
                tx.namespaces.get("full")
            with pytest.raises(Conflict):
                tx.namespaces.delete("default")

    def test_namespaces_have_labels_and_unique_names(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            tx.namespaces.create(Namespace(name="one", labels={"a": "b"}, created_at=7))
            with pytest.raises(AlreadyExists, match="one"):
                tx.namespaces.create(Namespace(name="one", created_at=8))
            assert tx.namespaces.update("one", {"a": None, "c": "d"}).labels == {"c": "d"}
            for bad in ("", "a b", "a--b", "../x", "é", "a" * 77):
                with pytest.raises(InvalidArgument):
                    tx.namespaces.ensure(bad)

    # images

    def test_images_by_name(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            assert tx.images.put(NS, new_image("x", b"1")) is None
            assert tx.images.put(NS, new_image("x", b"2")) == new_image("x", b"1")
            assert tx.images.get(NS, "x") == new_image("x", b"2")
            assert tx.images.update(NS, "x", {"l": None, "m": "2"}).labels == {"m": "2"}
            with pytest.raises(AlreadyExists):
                tx.images.create(NS, new_image("x"))
            tx.images.create("other", new_image("x"))
            tx.images.delete(NS, "x")
            assert tx.images.list(NS) == []
            for use in (tx.images.get, tx.images.delete):
                with pytest.raises(NotFound, match=r"^No such image: x$"):
                    use(NS, "x")

    # containers

    def test_a_container_is_kept_whole(self, metadata: Metadata) -> None:
        record = new_container(ID_A, "web")
        with metadata.update() as tx:
            tx.containers.create(NS, record)
        with metadata.view() as tx:
            assert tx.containers.get(NS, ID_A) == record

    def test_a_container_is_found_by_id_then_name_then_prefix(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            a = add_container(tx, ID_A, "web")
            b = add_container(tx, ID_B, "aa1")
            c = add_container(tx, ID_C, ID_A)
            find = tx.containers.find
            assert find(NS, ID_A) == a
            assert find(NS, "web") == find(NS, "/web") == a
            assert find(NS, "aa1") == b
            assert find(NS, "aa11") == a
            assert find(NS, "b") == c
            with pytest.raises(InvalidArgument, match="aa"):
                find(NS, "aa")
            for missing in ("cc", "", "we", "%", "aa1_", ID_A + "0"):
                with pytest.raises(NotFound, match=f"^No such container: {missing}$"):
                    find(NS, missing)
            with pytest.raises(NotFound):
                find("other", ID_A)

    def test_a_name_in_use_is_refused_in_dockers_words(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            add_container(tx, ID_A, "web")
            b = add_container(tx, ID_B)
            words = (
                f'Conflict. The container name "/web" is already in use by container "{ID_A}".'
                " You have to remove (or rename) that container to be able to reuse that name."
            )
            for attempt in (
                lambda: tx.containers.create(NS, new_container(ID_C, "web")),
                lambda: tx.containers.put(NS, b.model_copy(update={"name": "web"})),
            ):
                with pytest.raises(AlreadyExists) as caught:
                    attempt()
                assert caught.value.message == words
                assert caught.value.details == {"container_id": ID_A}
            with pytest.raises(AlreadyExists, match=ID_A):
                tx.containers.create(NS, new_container(ID_A, "other"))
            tx.containers.create("other", new_container(ID_A, "web"))

    def test_containers_without_a_name_do_not_collide(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            add_container(tx, ID_A)
            add_container(tx, ID_B)
            assert len(tx.containers.list(NS)) == 2

    def test_containers_are_listed_newest_first(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            for container_id, created_at in ((ID_B, 2), (ID_A, 3), (ID_C, 2)):
                add_container(tx, container_id, created_at=created_at)
            assert [record.id for record in tx.containers.list(NS)] == [ID_A, ID_C, ID_B]

    def test_a_container_can_be_renamed(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            record = add_container(tx, ID_A, "old")
            tx.containers.put(NS, record.model_copy(update={"name": "new"}))
            assert tx.containers.find(NS, "new").id == ID_A
            add_container(tx, ID_B, "old")
            with pytest.raises(NotFound, match=ID_C):
                tx.containers.put(NS, new_container(ID_C))

    def test_a_container_goes_with_its_task_and_leaves_its_address_taken(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            add_container(tx, ID_A)
            tx.tasks.put(NS, TaskRecord(container_id=ID_A, status=TaskStatus.RUNNING))
            tx.endpoints.put(NS, new_endpoint(ID_A, "10.0.0.2"))
            tx.containers.delete(NS, ID_A)
            assert tx.tasks.list(NS) == []
            assert tx.endpoints.get(NS, ID_A) == new_endpoint(ID_A, "10.0.0.2")
            for use in (tx.containers.get, tx.containers.delete):
                with pytest.raises(NotFound, match=r"^No such container: aa11"):
                    use(NS, ID_A)

    # tasks

    def test_the_last_task_of_a_container(self, metadata: Metadata) -> None:
        task = TaskRecord(
            container_id=ID_A, status=TaskStatus.RUNNING, pid=ProcessId(pid=7, start=8), started_at=123_456_789
        )
        with metadata.update() as tx:
            add_container(tx, ID_A)
            assert tx.tasks.find(NS, ID_A) is None
            with pytest.raises(NotFound, match=ID_A):
                tx.tasks.get(NS, ID_A)
            tx.tasks.put(NS, task)
            assert tx.tasks.get(NS, ID_A) == tx.tasks.find(NS, ID_A) == task
            stopped = task.model_copy(update={"status": TaskStatus.STOPPED, "exit_code": 137})
            tx.tasks.put(NS, stopped)
            assert tx.tasks.list(NS) == [stopped]
            tx.tasks.delete(NS, ID_A)
            with pytest.raises(NotFound):
                tx.tasks.delete(NS, ID_A)

    def test_nothing_is_recorded_of_a_container_that_is_not_there(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            for attempt in (
                lambda: tx.tasks.put(NS, TaskRecord(container_id=ID_A, status=TaskStatus.CREATED)),
            ):
                with pytest.raises(NotFound, match=f"^No such container: {ID_A}$"):
                    attempt()

    # endpoints

    def test_an_address_is_given_once_per_network(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            add_container(tx, ID_A)
            add_container(tx, ID_B)
            tx.endpoints.put(NS, new_endpoint(ID_A, "10.0.0.2"))
            with pytest.raises(AlreadyExists, match=r"10\.0\.0\.2"):
                tx.endpoints.put(NS, new_endpoint(ID_B, "10.0.0.2"))
            tx.endpoints.put(NS, new_endpoint(ID_B, "10.0.0.2", network="other"))
            tx.endpoints.put(NS, new_endpoint(ID_A, "10.0.0.2"))
            assert tx.endpoints.get(NS, ID_A) == new_endpoint(ID_A, "10.0.0.2")
            assert [(ns, found.network) for ns, found in tx.endpoints.list()] == [(NS, "bridge"), (NS, "other")]

    def test_endpoints_without_an_address_do_not_collide(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            for container_id in (ID_A, ID_B):
                add_container(tx, container_id)
                tx.endpoints.put(NS, new_endpoint(container_id, ""))
            assert len(tx.endpoints.list()) == 2
            assert tx.endpoints.last_address("bridge") == ""

    def test_the_last_address_outlives_its_endpoint(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            for container_id, address in ((ID_A, "10.0.0.2"), (ID_B, "10.0.0.3")):
                add_container(tx, container_id)
                tx.endpoints.put(NS, new_endpoint(container_id, address))
            tx.endpoints.put(NS, new_endpoint(ID_A, "10.0.0.2"))  # known already: not handed out again
            tx.containers.delete(NS, ID_B)
            tx.endpoints.delete(NS, ID_A)
            tx.endpoints.delete(NS, ID_A)
            assert tx.endpoints.find(NS, ID_A) is None
            with pytest.raises(NotFound):
                tx.endpoints.get(NS, ID_A)
            assert tx.endpoints.last_address("bridge") == "10.0.0.3"
            assert tx.endpoints.last_address("other") == ""

    # leases

    def test_leases_and_what_they_hold(self, metadata: Metadata) -> None:
        blob, ingest = Resource(type="content", id="sha256:1"), Resource(type="ingest", id="layer")
        lease = Lease(id="l", labels={"gc.expire": "2030-01-01T00:00:00Z"}, created_at=3)
        with metadata.update() as tx:
            tx.leases.create(NS, lease)
            with pytest.raises(AlreadyExists, match="l"):
                tx.leases.create(NS, lease)
            tx.leases.add(NS, "l", ingest)
            tx.leases.add(NS, "l", blob)
            tx.leases.add(NS, "l", blob)
            assert tx.leases.resources(NS, "l") == [blob, ingest]
            tx.leases.remove(NS, "l", ingest)
            tx.leases.remove(NS, "l", ingest)
            assert tx.leases.resources(NS, "l") == [blob]
            assert tx.leases.list(NS) == [lease] == [tx.leases.get(NS, "l")]
            tx.leases.delete(NS, "l")
            for use in (tx.leases.get, tx.leases.delete, tx.leases.resources):
                with pytest.raises(NotFound, match=r"^No such lease: l$"):
                    use(NS, "l")
            for change in (tx.leases.add, tx.leases.remove):
                with pytest.raises(NotFound, match=r"^No such lease: l$"):
                    change(NS, "l", blob)

    def test_a_lease_that_cannot_be_read_is_not_made(self, metadata: Metadata) -> None:
        with metadata.update() as tx:
            for lease in (
                Lease(id="l", labels={"gc.expire": "tomorrow"}, created_at=3),
                Lease(id="", created_at=3),
                Lease(id="x" * 256, created_at=3),
            ):
                with pytest.raises(InvalidArgument):
                    tx.leases.create(NS, lease)
