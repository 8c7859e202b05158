"""Whether an image may be here: asked after its name was resolved and before anything of it is fetched."""

from __future__ import annotations

from typing import Protocol

from corten_shared.models.oci import Descriptor


class ImageVerifier(Protocol):
    """Judges images by name and digest."""

    async def verify(self, name: str, target: Descriptor) -> None:
        """Return when the image may be fetched. `name` is the full reference, `target` what it resolved to.

        Raises PermissionDenied with the reason when it may not; Unavailable or DeadlineExceeded when there was no
        judgement, which is a refusal too.
        """
        ...
