"""corten's clients: the SDK (`corten.Client`), the `corten` and the `cortenctl` command lines.

Importing this package imports nothing else, because both command lines start here and every
import is paid by every command. The SDK's names are loaded on first use:

    import corten
    with corten.Client() as client:
        client.info()
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # not from `typing`: see above
if TYPE_CHECKING:
    from typing import Any

    from corten.sdk import *  # noqa: F403  (what `__getattr__` finds, for type checkers)


def __getattr__(name: str) -> Any:
    """The SDK's public names (`Client`, `AsyncClient`, the error classes), from `corten.sdk`.

    All of them are classes. Other names are refused before the SDK is imported, because
    `from corten import tty` asks here first, and must not pay for httpx.
    """
    if not name[:1].isupper():
        raise AttributeError(f"module 'corten' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module("corten.sdk"), name)
    except AttributeError:
        raise AttributeError(f"module 'corten' has no attribute {name!r}") from None
