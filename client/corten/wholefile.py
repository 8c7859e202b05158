"""Writing a file that is there whole or not at all."""

from __future__ import annotations

import os

from corten_shared.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def write_whole(path: str, chunks: Iterable[bytes], what: str) -> None:
    """Write beside the target and rename. What is no regular file (/dev/stdout, a pipe) is written as it is.

    Raises InvalidArgument, which begins with `what` and names the file.
    """
    special = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    temporary = path if special else f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb" if special else "xb") as file:
            for data in chunks:
                file.write(data)
        if not special:
            os.replace(temporary, path)
    except OSError as exc:
        raise InvalidArgument(f"{what}: {path}: {exc.strerror or exc}") from None
    finally:
        if not special and os.path.exists(temporary):
            os.unlink(temporary)
