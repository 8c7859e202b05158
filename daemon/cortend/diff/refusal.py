"""How the unpack child says no: an error code of `corten_shared.errors`, and one printable line."""

from __future__ import annotations

_SHOWN = 200


class Refusal(Exception):
    """The layer is not unpacked: `code` is invalid_argument, data_loss or resource_exhausted."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def invalid(message: str) -> Refusal:
    """The archive says something that may not be."""
    return Refusal("invalid_argument", message)


def damaged(message: str) -> Refusal:
    """The stream is not what its producer wrote."""
    return Refusal("data_loss", message, "fetch the layer again")


def exhausted(message: str, hint: str = "") -> Refusal:
    """A limit, or the disk, is reached."""
    return Refusal("resource_exhausted", message, hint)


def quote(name: bytes) -> str:
    """A member's name for an error text: quoted, control characters and odd bytes escaped, cut when long."""
    text = repr(name[:_SHOWN].decode("utf-8", "surrogateescape"))
    # repr leaves what is printable; lone surrogates stand for bytes that are no UTF-8 and come out as \udcXX.
    return text if len(name) <= _SHOWN else f"{text[:-1]}…{text[-1]}"
