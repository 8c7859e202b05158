"""Whose login a command sends along: `--user`, or the user's config.json."""

from __future__ import annotations

from corten.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.flags import Options

USER = Flag(
    "user", "string", "USERNAME, or USERNAME:PASSWORD; without a password it is asked for (default: as logged in by "
    "`corten login`)", short="u",
)  # fmt: skip


def login(options: Options, reference: str) -> dict[str, str] | None:
    """The credentials for the registry of `reference`; None without any."""
    if options["user"]:
        name, colon, password = options["user"].partition(":")
        if not colon:
            from getpass import getpass

            password = getpass("Password: ")
        return {"username": name, "password": password}
    from corten.credentials import load

    return load().native(reference)
