"""cortend: the daemon that owns content, snapshots, images, containers and tasks."""

__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, read when asked for: importlib.metadata costs the helpers' start twice the interpreter's."""
    if name != "__version__":
        raise AttributeError(f"module 'cortend' has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("corten")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0"
