"""`cortenctl oci`."""

from __future__ import annotations

from corten.ctl.command import Command
from corten.ctl.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.flags import Options


def _spec(session: Session, options: Options) -> int:
    return session.dump(session.call("GET", "/oci/spec"))


COMMANDS = {
    "spec": Command(
        "Print the OCI configuration of a container without any wishes", _spec,
        examples=["cortenctl oci spec | jq .process.capabilities"],
    ),
}  # fmt: skip
