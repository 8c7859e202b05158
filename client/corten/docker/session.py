"""What a running command has: the engine it talks to, the user's config, its own name."""

from __future__ import annotations

import os

from corten.address import TLS, default_host
from corten.docker.engine import Engine
from corten.transport import Transport
from corten_shared.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.docker.config import Config
    from corten.flags import Options


class Session:
    """One invocation. `path` is what was typed (`corten container ls`); parts are made on first use."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._engine: Engine | None = None
        self._config: Config | None = None
        self.path = "corten"

    @property
    def engine(self) -> Engine:
        """The engine, not yet connected."""
        if self._engine is None:
            self._engine = Engine(Transport(self.host(), tls=self._tls(), headers=self._headers()))
        return self._engine

    @property
    def config(self) -> Config:
        """The user's config.json, read when first asked for."""
        if self._config is None:
            from corten.docker.config import load

            self._config = load(self._options["config"])
        return self._config

    def host(self) -> str:
        """The daemon's address: `-H`, then CORTEN_HOST, then DOCKER_HOST, then corten's socket."""
        given = self._options["host"]
        if len(given) > 1:
            raise InvalidArgument("specify only one -H")
        return given[0].strip() if given else default_host("CORTEN_HOST", "DOCKER_HOST")

    def detach_keys(self, given: str) -> str:
        """`--detach-keys`, else config.json's, else the default."""
        from corten.tty import DEFAULT_DETACH_KEYS

        return given or self.config.detach_keys or DEFAULT_DETACH_KEYS

    def _headers(self) -> dict[str, str]:
        return {"User-Agent": "corten/0.1 (linux)"}

    def _tls(self) -> TLS | None:
        options = self._options
        verify = options["tlsverify"] or bool(os.environ.get("DOCKER_TLS_VERIFY"))
        if not verify and not options["tls"] and not os.environ.get("DOCKER_TLS"):
            return None
        folder = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")

        def file(flag: str, name: str) -> str | None:
            path = options[flag] or os.path.join(folder, name)
            return path if options[flag] or os.path.exists(path) else None

        return TLS(file("tlscacert", "ca.pem"), file("tlscert", "cert.pem"), file("tlskey", "key.pem"), verify=verify)
