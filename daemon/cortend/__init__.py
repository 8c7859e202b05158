"""cortend: the daemon that owns content, snapshots, images, containers and tasks."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("corten")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
