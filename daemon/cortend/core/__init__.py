"""The engine's interfaces and its pure logic; no input or output happens here.

Each module holds one Protocol with its contract: what a method guarantees, what it raises, and
whether it may be repeated. Unless it says `async`, a method blocks, is safe to call from many
threads, and must not be called on the event loop (see `core.workers`).
"""
