"""What the user's config.json says of `corten` itself: formats and detach keys; and the logins beside them."""

from __future__ import annotations

from corten.credentials import Credentials
from corten.userfile import UserFile


class Config:
    """The parsed file."""

    def __init__(self, file: UserFile) -> None:
        self._file = file
        self.credentials = Credentials(file)

    def text(self, key: str) -> str:
        """A string member, or nothing."""
        return self._file.string(key)

    @property
    def detach_keys(self) -> str:
        """`detachKeys`."""
        return self.text("detachKeys")

    def registry_auth(self, image: str) -> str:
        """The X-Registry-Auth value for the registry of `image`; empty without a login."""
        return self.credentials.registry_auth(image)


def load(folder: str) -> Config:
    """`config.json` of `folder`, or of DOCKER_CONFIG, or of ~/.docker."""
    return Config(UserFile(folder))
