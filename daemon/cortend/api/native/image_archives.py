"""Images in archives: export and import."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from corten_shared.models.image import ImportProgress, Progress
from corten_shared.models.oci import Platform
from cortend.api.native.parameters import DEFAULT, Namespace
from cortend.api.native.streaming import JsonLines, Stream, checked_lines
from cortend.core import platforms
from cortend.services.all import Services
from cortend.services.archive_images import Naming
from cortend.services.image_load import Loaded, LoadRequest

Platforms = Annotated[list[str], Query(alias="platform", description="Only these, `os/arch[/variant]`.")]


def router(services: Services) -> APIRouter:
    """The routes, which come before those of images."""
    api = APIRouter(prefix="/images", tags=["images"])

    @api.get("/export", response_class=Response)
    async def export_images(
        name: Annotated[list[str], Query(description="The images to export.")],
        platform: Platforms = [],  # noqa: B006 (FastAPI copies it)
        all_platforms: Annotated[bool, Query(description="Fail when a platform of an index is not here.")] = False,
        manifest_json: Annotated[bool, Query(description="Also be a docker archive.")] = True,
        namespace: Namespace = DEFAULT,
    ) -> Stream:
        """A tar that is an OCI layout, and a docker archive."""
        chunks = services.saves.save(
            namespace, name, wanted=_wanted(platform), complete=all_platforms, docker=manifest_json
        )
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(chunks.aclose)
            first = await anext(chunks)  # what fails before it is an answer with a status of its own
            stack.pop_all()
        return Stream(_from(first, chunks), media_type="application/x-tar")

    @api.post("/import", response_class=JsonLines, responses={200: {"model": ImportProgress}})
    async def import_images(
        request: Request,
        platform: Platforms = [],  # noqa: B006
        base_name: Annotated[str, Query(description="Completes names that are only a tag.")] = "",
        only_base: Annotated[bool, Query(description="Leave out names that do not begin with it.")] = False,
        digests: Annotated[bool, Query(description="Add the name `base_name@digest`.")] = False,
        index_name: Annotated[str, Query(description="Name the archive's index too.")] = "",
        unpack: bool = True,
        namespace: Namespace = DEFAULT,
    ) -> Stream:
        """Take the images of a docker archive or OCI layout, which is the body; nothing is fetched.

        Answers JSON lines of progress; the last ones have `image`, or the last is `{"error": …}`.
        """
        naming = Naming(base_name, only_base, digests, index_name)
        found = services.loads.load(
            namespace, request.stream(), LoadRequest(_wanted(platform), naming, unpack=unpack)
        )
        return await checked_lines(_progress(found))

    return api


def _wanted(texts: list[str]) -> list[Platform]:
    host = platforms.of_machine(platform.machine())
    return [platforms.parse(text, host) for text in texts]


async def _progress(found: AsyncGenerator[Progress | Loaded, None]) -> AsyncGenerator[ImportProgress, None]:
    async with contextlib.aclosing(found):
        async for item in found:
            if isinstance(item, Loaded):
                yield ImportProgress(status="Loaded image", id=item.id, image=item.record)
            else:
                yield ImportProgress(**dict(item))


async def _from(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk
