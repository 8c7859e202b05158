"""The registry client against Debian's docker-registry."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from corten_shared.errors import NotFound
from corten_shared.models import oci
from corten_shared.models.oci import Descriptor
from corten_shared.reference import parse_normalized
from cortend.registry.client import RegistryClient
from cortend.registry.settings import RegistrySettings
from images import make_image, make_index, make_layer, push_to_registry, put_manifest
from support_registry import registry_fixture  # noqa: F401 (a fixture)

IMAGE = make_image([make_layer([("a", b"x" * 100_000)], "none"), make_layer([("b", b"2")], "zstd")])
FAST = RegistrySettings(backoff=0.001)


def _with_fetcher(reference, use, credentials=None):
    async def run():
        async with RegistryClient(FAST).fetcher(parse_normalized(reference), credentials) as fetcher:
            return await use(fetcher)

    return asyncio.run(run())


async def _blob(fetcher, descriptor, offset=0):
    async with fetcher.blob(descriptor, offset) as stream:
        return stream.offset, stream.total, b"".join([chunk async for chunk in stream.chunks])


def _layer(number=0):
    return Descriptor.model_validate(IMAGE.layers[number].descriptor())


def test_a_tag_resolves_and_its_documents_and_blobs_are_read(registry):
    push_to_registry(IMAGE, registry.host, "a/app", "1")

    async def use(fetcher):
        descriptor = await fetcher.resolve()
        assert (descriptor.digest, descriptor.media_type) == (IMAGE.digest, oci.OCI_MANIFEST)
        assert await fetcher.manifest(descriptor) == IMAGE.manifest
        config = Descriptor(mediaType=oci.OCI_CONFIG, digest=IMAGE.id, size=len(IMAGE.config))
        assert await fetcher.manifest(config) == IMAGE.config
        return await _blob(fetcher, _layer())

    data = IMAGE.layers[0].blob
    assert _with_fetcher(f"{registry.host}/a/app:1", use) == (0, len(data), data)


def test_a_digest_resolves_to_itself(registry):
    push_to_registry(IMAGE, registry.host, "app", "1")
    found = _with_fetcher(f"{registry.host}/app@{IMAGE.digest}", lambda f: f.resolve())
    assert (found.digest, found.size) == (IMAGE.digest, len(IMAGE.manifest))


def test_an_index_resolves_as_one(registry):
    push_to_registry(IMAGE, registry.host, "app", "amd64")
    data = make_index({"linux/amd64": IMAGE}, docker=True)
    put_manifest(registry.host, "app", "multi", data, oci.DOCKER_LIST)
    assert _with_fetcher(f"{registry.host}/app:multi", lambda f: f.resolve()).media_type == oci.DOCKER_LIST


def test_a_blob_is_read_from_the_middle(registry):
    push_to_registry(IMAGE, registry.host, "app", "1")
    offset, total, rest = _with_fetcher(f"{registry.host}/app:1", lambda f: _blob(f, _layer(), 50_000))
    data = IMAGE.layers[0].blob
    assert (offset, total, rest) == (50_000, len(data), data[50_000:])


@pytest.mark.parametrize("name", ["app:nope", "nosuch:1"])
def test_what_is_not_there_is_named_in_dockers_words(registry, name):
    push_to_registry(IMAGE, registry.host, "app", "1")
    with pytest.raises(NotFound) as caught:
        _with_fetcher(f"{registry.host}/{name}", lambda f: f.resolve())
    expected = f"manifest for {registry.host}/{name} not found: manifest unknown: manifest unknown"
    assert caught.value.message == expected


def test_a_missing_blob_is_named(registry):
    push_to_registry(IMAGE, registry.host, "app", "1")
    missing = _layer().model_copy(update={"digest": "sha256:" + "0" * 64})
    with pytest.raises(NotFound, match=r"sha256:0{64} of .*/app not found in registry .* blob unknown"):
        _with_fetcher(f"{registry.host}/app:1", lambda f: _blob(f, missing))


def test_many_requests_share_one_fetcher(registry):
    push_to_registry(IMAGE, registry.host, "app", "1")

    async def use(fetcher):
        return await asyncio.gather(*(_blob(fetcher, _layer(n % 2)) for n in range(12)))

    results = _with_fetcher(f"{registry.host}/app:1", use)
    wanted = {hashlib.sha256(layer.blob).hexdigest() for layer in IMAGE.layers}
    assert {hashlib.sha256(data).hexdigest() for _, _, data in results} == wanted
