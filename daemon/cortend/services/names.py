"""Ids and random names of containers."""

from __future__ import annotations

import re
import secrets

from corten_shared.errors import InvalidArgument

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")

_ADJECTIVES = (
    "amber bold brisk calm clear clever crisp daring eager early fair fleet fond gentle glad golden grand happy "
    "hardy honest humble jolly keen kind light lively lucid lucky mellow merry mild nimble noble patient plain proud "
    "quick quiet rapid ready rosy sharp silver smart snug solid spry steady still sturdy sunny swift tidy true upbeat "
    "vivid warm wise witty zesty"
).split()
_NOUNS = (
    "acorn anchor anvil arch aspen badger barge basin beacon birch bloom bridge brook cabin canal cedar chisel cliff "
    "clover cobalt comet copper coral cove crane creek delta dune ember falcon fern ferry fjord flint forge garnet "
    "girder glade granite grove gull harbor hazel heron hinge hull iron island ivory jetty kiln lagoon lantern larch "
    "latch ledge lever linden maple marble marsh meadow mill moss nickel oak orchard osprey otter pebble pier pine "
    "plateau pond poplar quarry quartz quay rafter raven reef ridge rivet robin sail shore slate sparrow spruce "
    "steel stone summit thicket timber tower trellis truss valley wharf willow wren zinc"
).split()


def new_id() -> str:
    """64 random hex digits. Never all decimal in its first twelve, so that a short id is no number."""
    while True:
        candidate = secrets.token_hex(32)
        if not candidate[:12].isdecimal():
            return candidate


def random_name() -> str:
    """Two words and, so that a collision is rare without asking, a small number."""
    return f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_NOUNS)}{secrets.randbelow(1000)}"


def check_name(name: str) -> str:
    """The name without a leading slash; raises InvalidArgument in docker's words."""
    bare = name.removeprefix("/")
    if len(bare) > 255 or not _NAME.match(bare):
        raise InvalidArgument(
            f"Invalid container name ({name[:80]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return bare
