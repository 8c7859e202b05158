"""Giving freed memory back to the kernel."""

from __future__ import annotations

from cortend.linux.libc import LIBC


def malloc_trim() -> None:
    """Return the allocator's free pages (malloc_trim(3)); does nothing where the C library has no such call."""
    trim = getattr(LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)
