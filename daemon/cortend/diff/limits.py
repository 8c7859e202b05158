"""How much a layer may take. One table, sent to the child as text."""

from __future__ import annotations


class Limits:
    """Bounds of one unpack; the defaults hold for any image that people build, and stop bombs."""

    __slots__ = ("data", "entries", "header", "memory", "ratio", "ratio_floor", "seconds", "window")

    def __init__(
        self,
        *,
        data: int = 64 << 30,
        entries: int = 2_000_000,
        header: int = 1 << 20,
        memory: int = 1 << 30,
        ratio: int = 2_000,
        ratio_floor: int = 1 << 30,
        seconds: int = 3600,
        window: int = 1 << 27,
    ) -> None:
        self.data = data
        """Bytes of the uncompressed archive, and of any one (sparse) file's length."""
        self.entries = entries
        """Archive members."""
        self.header = header
        """Bytes of extended headers (PAX, GNU long names) for one member, and of a sparse file's map."""
        self.memory = memory
        """RLIMIT_AS of the child."""
        self.ratio = ratio
        """Uncompressed to compressed bytes, once `ratio_floor` bytes came out; gzip cannot exceed 1032."""
        self.ratio_floor = ratio_floor
        self.seconds = seconds
        """Wall time of one unpack."""
        self.window = window
        """Bytes that a zstd decoder may keep, and may give at once: the default suits `zstd --long`."""

    def encode(self) -> str:
        """As one word for a command line."""
        return ",".join(f"{name}={getattr(self, name)}" for name in self.__slots__)

    @classmethod
    def decode(cls, text: str) -> Limits:
        """What `encode` wrote."""
        pairs = (pair.split("=") for pair in text.split(","))
        return cls(**{name: int(value) for name, value in pairs})
