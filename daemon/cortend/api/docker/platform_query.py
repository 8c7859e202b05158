"""The query parameter `platform`: JSON of os, architecture and variant."""

from __future__ import annotations

from pydantic import ValidationError

from corten_shared.errors import InvalidArgument
from corten_shared.models.oci import Platform
from cortend.api.docker.call import Call
from cortend.core.documents import load_json


def platforms_of(call: Call) -> list[Platform]:
    """The platforms asked for; there may be several."""
    found: list[Platform] = []
    for text in call.query.getlist("platform"):
        if not text:
            continue
        try:
            platform = Platform.model_validate(load_json(text.encode("utf-8", "replace"), "platform"))
        except ValidationError as error:
            raise InvalidArgument(f"invalid platform {text[:80]!r}") from error
        if not platform.os or not platform.architecture:
            raise InvalidArgument(f"invalid platform {text[:80]!r}", hint="os and architecture must be given")
        found.append(platform)
    return found
