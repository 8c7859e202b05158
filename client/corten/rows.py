"""Rows of listings, as templates see them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Row(dict[str, object]):
    """The fields of one line of a listing, and its `methods`, which take arguments."""

    def __init__(self, fields: dict[str, Any], methods: dict[str, Callable[..., Any]] | None = None) -> None:
        super().__init__(sorted(fields.items()))
        self.methods = methods or {}
