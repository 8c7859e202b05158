"""Pushes to Debian's docker-registry, from the real stores: what arrives is what was here."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

import pytest
from pydantic import SecretStr

from corten_shared.errors import InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from corten_shared.models import oci
from cortend.core.registry import Credentials
from images import digest_of, make_image, make_index, make_layer, push_to_registry, put_manifest
from registry_shapes import PASSWORD, READER, READER_PASSWORD, USER, run_shape
from support_images import NS, ImageStack, close, collect
from support_registry import registry_fixture  # noqa: F401 (a fixture)

pytestmark = pytest.mark.root

LAYERS = [
    make_layer([("etc/motd", b"one")], "gzip"),
    make_layer([("etc/motd", b"two")], "zstd"),
    make_layer([("data", b"d" * 3_000_000)], "none"),
]
IMAGE = make_image(LAYERS, {"Cmd": ["sh"]})
DOCKER = make_image([make_layer([("a", b"docker")], docker=True)], docker=True)
FAR = make_image([make_layer([("far", b"away")])], architecture="s390x")
SOURCE = "containerd.io/distribution.source."


@pytest.fixture
def stack(tmp_path):
    with ImageStack(tmp_path) as stack:
        yield stack


def fetch(host, path, accept=""):
    """A document or blob of a registry; None when it has none."""
    request = urllib.request.Request(f"http://{host}/v2/{path}", headers={"Accept": accept} if accept else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        error.close()
        return None


def words(lines, layer):
    return [line.status for line in lines if line.id == layer.digest[7:19]]


def pulled(stack, registry, image=IMAGE, name="app:1"):
    """The image, pulled from the registry; its name here."""
    repository, _, tag = name.rpartition(":")
    push_to_registry(image, registry.host, repository, tag)
    stack.pull(f"{registry.host}/{name}")
    return f"{registry.host}/{name}"


def elsewhere(stack, registry, image=IMAGE, name="app:1"):
    """The image as one that no registry on this host is known to have."""
    full = pulled(stack, registry, image, name)
    for digest in image.blobs:
        stack.content.update(NS, digest, {SOURCE + registry.host: None})
    return full


@pytest.mark.parametrize("image", [IMAGE, DOCKER], ids=["oci", "docker"])
def test_every_byte_arrives_as_it_was(stack, registry, image):
    here = elsewhere(stack, registry, image)
    lines = stack.push(f"{registry.host}/new/home:2", local=here)
    assert fetch(registry.host, "new/home/manifests/2", image.media_type) == image.manifest
    for digest, data in image.blobs.items():
        assert fetch(registry.host, f"new/home/blobs/{digest}") == data
    assert lines[0].status == f"The push refers to repository [{registry.host}/new/home]"
    told = lines[-1].pushed
    assert (told.tag, told.digest, told.size) == ("2", image.digest, len(image.manifest))
    assert lines[-1].status == f"2: digest: {image.digest} size: {len(image.manifest)}"
    for layer in image.layers:
        assert words(lines, layer)[0] == "Preparing"
        assert words(lines, layer)[-2:] == ["Pushing", "Pushed"]
    assert stack.leases() == 0


def test_what_is_there_is_not_sent_again(stack, registry):
    here = pulled(stack, registry)
    lines = stack.push(here)
    assert {words(lines, layer)[-1] for layer in IMAGE.layers} == {"Layer already exists"}


def test_blobs_are_mounted_from_where_they_came_and_where_they_went(stack, registry):
    here = pulled(stack, registry, name="team/app:1")
    lines = stack.push(f"{registry.host}/other/app:1", local=here)
    assert {words(lines, layer)[-1] for layer in IMAGE.layers} == {"Mounted from team/app"}
    for digest in IMAGE.blobs:
        labels = stack.content.info(NS, digest).labels
        assert labels[SOURCE + registry.host] == "team/app,other/app"
    lines = stack.push(f"{registry.host}/other/second:1", local=here)
    assert {words(lines, layer)[-1] for layer in IMAGE.layers} == {"Mounted from other/app"}


def test_a_source_that_no_longer_has_the_blob_costs_a_question(stack, registry):
    here = elsewhere(stack, registry)
    for digest in IMAGE.blobs:
        stack.content.update(NS, digest, {SOURCE + registry.host: "gone/away,../../etc,UPPER"})
    lines = stack.push(f"{registry.host}/new:1", local=here)
    assert {words(lines, layer)[-1] for layer in IMAGE.layers} == {"Pushed"}


def test_a_layer_that_was_let_go_of_can_go_where_it_is_already_and_nowhere_else(stack, registry):
    here = pulled(stack, registry)
    stack.content.delete(NS, LAYERS[0].digest)
    assert stack.push(f"{registry.host}/app:2", local=here)[-1].pushed.digest == IMAGE.digest
    with pytest.raises(NotFound, match=f"{LAYERS[0].digest} of the image is neither here nor in {registry.host}/new"):
        stack.push(f"{registry.host}/new:1", local=here)
    assert stack.leases() == 0


def test_an_index_goes_whole_children_first(stack, registry):
    index = make_index({"linux/amd64": IMAGE, "linux/s390x": FAR}, docker=True)
    for image in (IMAGE, FAR):
        push_to_registry(image, registry.host, "app", image.digest)
    put_manifest(registry.host, "app", "multi", index, oci.DOCKER_LIST)
    for platform in ("linux/amd64", "linux/s390x"):
        stack.pull(f"{registry.host}/app:multi", platform=platform)
    lines = stack.push(f"{registry.host}/new:multi", local=f"{registry.host}/app:multi")
    assert lines[-1].pushed.digest == digest_of(index)
    assert fetch(registry.host, "new/manifests/multi", oci.DOCKER_LIST) == index
    for image in (IMAGE, FAR):
        assert fetch(registry.host, f"new/manifests/{image.digest}", image.media_type) == image.manifest


def _partly(stack, registry, *, others):
    """An index of which only some platforms are pulled; its bytes."""
    images = {"linux/amd64": IMAGE, "linux/s390x": FAR, **others}
    index = make_index(images)
    for image in images.values():
        push_to_registry(image, registry.host, "app", image.digest)
    put_manifest(registry.host, "app", "multi", index, oci.OCI_INDEX)
    stack.pull(f"{registry.host}/app:multi", platform="linux/amd64")
    return index


def test_of_an_index_that_is_not_whole_the_only_image_goes_alone_and_it_is_said(stack, registry):
    _partly(stack, registry, others={})
    lines = stack.push(f"{registry.host}/new:multi", local=f"{registry.host}/app:multi")
    assert fetch(registry.host, "new/manifests/multi", IMAGE.media_type) == IMAGE.manifest
    told = [line.status for line in lines if line.id is None]
    assert f"linux/s390x ({FAR.digest}): left out, it is neither here nor in the registry" in told
    assert lines[-1].pushed.digest == IMAGE.digest


def test_of_an_index_that_is_not_whole_several_go_as_an_index_of_those(stack, registry):
    arm = make_image([make_layer([("arm", b"1")])], architecture="arm64")
    index = _partly(stack, registry, others={"linux/arm64": arm})
    stack.pull(f"{registry.host}/app:multi", platform="linux/arm64")
    lines = stack.push(f"{registry.host}/new:multi", local=f"{registry.host}/app:multi")
    document = json.loads(fetch(registry.host, "new/manifests/multi", oci.OCI_INDEX))
    here = [child for child in json.loads(index)["manifests"] if child["digest"] != FAR.digest]
    assert document == {**json.loads(index), "manifests": here}
    assert lines[-1].pushed.digest == digest_of(fetch(registry.host, "new/manifests/multi", oci.OCI_INDEX))


def test_an_index_whose_missing_parts_the_registry_has_stays_what_it_is(stack, registry):
    index = _partly(stack, registry, others={})
    lines = stack.push(f"{registry.host}/app:again", local=f"{registry.host}/app:multi")
    assert fetch(registry.host, "app/manifests/again", oci.OCI_INDEX) == index
    assert f"linux/s390x ({FAR.digest}): in the registry already" in [line.status for line in lines]


def test_a_platform_or_a_manifest_chooses(stack, registry):
    _partly(stack, registry, others={})
    here = f"{registry.host}/app:multi"
    assert stack.push(f"{registry.host}/one:1", local=here, platform="linux/amd64")[-1].pushed.digest == IMAGE.digest
    assert stack.push(f"{registry.host}/two:1", local=here, manifest=IMAGE.digest)[-1].pushed.digest == IMAGE.digest
    for wrong in ({"platform": "linux/riscv64"}, {"platform": "linux/s390x"}, {"manifest": FAR.digest}):
        with pytest.raises(NotFound):
            stack.push(f"{registry.host}/one:2", local=here, **wrong)
    assert stack.leases() == 0


def test_every_tag_of_a_repository_goes(stack, registry):
    here = pulled(stack, registry, name="app:1")
    pulled(stack, registry, DOCKER, name="app:2")
    for tag in ("1", "2"):
        stack.call("tag", f"{registry.host}/app:{tag}", f"{registry.host}/all/of:{tag}")
    lines = stack.push(f"{registry.host}/all/of", every=True)
    assert [(line.pushed.tag, line.pushed.digest) for line in lines if line.pushed] == [
        ("1", IMAGE.digest), ("2", DOCKER.digest)
    ]  # fmt: skip
    assert fetch(registry.host, "all/of/manifests/2", oci.DOCKER_MANIFEST) == DOCKER.manifest
    assert here.endswith("app:1")


def test_under_a_digest_goes_what_has_it(stack, registry):
    here = pulled(stack, registry)
    lines = stack.push(f"{registry.host}/new@{IMAGE.digest}", local=here)
    assert (lines[-1].pushed.tag, lines[-1].pushed.digest) == ("", IMAGE.digest)
    assert fetch(registry.host, f"new/manifests/{IMAGE.digest}", IMAGE.media_type) == IMAGE.manifest
    with pytest.raises(InvalidArgument, match="cannot be pushed as"):
        stack.push(f"{registry.host}/new@{FAR.digest}", local=here)


def test_what_is_not_here_fails_before_anything_is_said(stack, registry):
    async def first():
        with pytest.raises(NotFound, match=r"An image does not exist locally with the tag: .*/nope:1"):
            await anext(stack.begin_push(f"{registry.host}/nope:1"))

    stack.run(first())
    assert stack.leases() == 0


def test_a_removed_image_and_the_collector_take_nothing_from_under_a_push(stack, registry):
    here = elsewhere(stack, registry)

    async def run():
        lines = stack.begin_push(f"{registry.host}/new:1", local=here)
        await anext(lines)
        await stack.images.remove(NS, here, force=True)
        await asyncio.to_thread(stack.collector.collect)
        return await collect(lines)

    assert stack.run(run())[-1].pushed.digest == IMAGE.digest
    assert fetch(registry.host, "new/manifests/1", IMAGE.media_type) == IMAGE.manifest
    stack.collector.collect()
    assert stack.blobs() == set()


def test_a_push_that_is_given_up_leaves_nothing_here_and_the_next_completes(stack, registry):
    here = elsewhere(stack, registry)

    async def run():
        lines = stack.begin_push(f"{registry.host}/new:1", local=here)
        await anext(lines)
        await close(lines)

    stack.run(run())
    assert stack.leases() == 0
    assert fetch(registry.host, "new/manifests/1", IMAGE.media_type) is None
    assert stack.push(f"{registry.host}/new:1", local=here)[-1].pushed.digest == IMAGE.digest


def test_a_push_is_an_event(stack, registry):
    here = pulled(stack, registry)
    stack.push(f"{registry.host}/new:1", local=here)
    with stack.database.view() as tx:
        event = tx.events.list()[-1]
    assert (event.topic, event.attributes) == (
        "/images/push", {"action": "push", "name": f"{registry.host}/new:1"}
    )  # fmt: skip


def test_a_token_that_may_push_and_mount_and_one_that_may_not(stack, tmp_path):
    folder = tmp_path / "registry"
    folder.mkdir()
    login = Credentials(USER, SecretStr(PASSWORD))
    with run_shape("token", folder, {"team/app:1": IMAGE}) as shape:
        stack.pull(f"{shape.host}/team/app:1", credentials=login)
        here = f"{shape.host}/team/app:1"
        lines = stack.push(f"{shape.host}/new:1", local=here, credentials=login)
        assert {words(lines, layer)[-1] for layer in IMAGE.layers} == {"Mounted from team/app"}
        scopes = {scope for asked in shape.tokens.asked for scope in asked.scopes}
        assert {"repository:new:pull,push", "repository:team/app:pull"} <= scopes
        denied = f"push access denied for {shape.host}/new, repository does not exist or may require"
        with pytest.raises(PermissionDenied, match=denied):
            stack.push(f"{shape.host}/new:2", local=here, credentials=Credentials(READER, SecretStr(READER_PASSWORD)))
        with pytest.raises((PermissionDenied, Unauthenticated)):
            stack.push(f"{shape.host}/new:2", local=here)
        assert stack.leases() == 0


def test_basic_auth_goes_with_every_request(stack, tmp_path):
    folder = tmp_path / "registry"
    folder.mkdir()
    login = Credentials(USER, SecretStr(PASSWORD))
    with run_shape("basic", folder, {"app:1": IMAGE}) as shape:
        stack.pull(f"{shape.host}/app:1", credentials=login)
        for digest in IMAGE.blobs:
            stack.content.update(NS, digest, {SOURCE + shape.host: None})
        lines = stack.push(f"{shape.host}/new:1", local=f"{shape.host}/app:1", credentials=login)
        assert {words(lines, layer)[-1] for layer in IMAGE.layers} == {"Pushed"}
        with pytest.raises(Unauthenticated, match="wants a login"):
            stack.push(f"{shape.host}/new:1", local=f"{shape.host}/app:1")
