"""The table of commands: where each is, so that only the module of the one that runs is loaded.

An entry is (module, attribute, summary); the attribute is a `Command` in `corten.docker.<module>`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.command import Entry

_CONTAINER: dict[str, Entry] = {
    "attach": ("attach", "ATTACH", "Attach local standard input, output, and error to a running container"),
    "commit": ("files", "COMMIT", "Create a new image from a container's changes"),
    "create": ("run", "CREATE", "Create a new container"),
    "diff": ("files", "DIFF", "Inspect changes to files or directories on a container's filesystem"),
    "exec": ("exec", "EXEC", "Execute a command in a running container"),
    "export": ("files", "EXPORT", "Export a container's filesystem as a tar archive"),
    "inspect": ("inspect", "CONTAINER_INSPECT", "Show all that is known of containers"),
    "kill": ("lifecycle", "KILL", "Kill one or more running containers"),
    "logs": ("logs", "LOGS", "Fetch the logs of a container"),
    "ls": ("container", "PS", "List containers"),
    "pause": ("lifecycle", "PAUSE", "Pause all processes within one or more containers"),
    "port": ("container", "PORT", "List port mappings of a container"),
    "prune": ("prune", "CONTAINER_PRUNE", "Remove all stopped containers"),
    "rename": ("lifecycle", "RENAME", "Rename a container"),
    "restart": ("lifecycle", "RESTART", "Restart one or more containers"),
    "rm": ("lifecycle", "RM", "Remove one or more containers"),
    "run": ("run", "RUN", "Create and run a new container from an image"),
    "start": ("attach", "START", "Start one or more stopped containers"),
    "stop": ("lifecycle", "STOP", "Stop one or more running containers"),
    "top": ("container", "TOP", "Display the running processes of a container"),
    "unpause": ("lifecycle", "UNPAUSE", "Unpause all processes within one or more containers"),
    "wait": ("lifecycle", "WAIT", "Block until containers stop, then print their exit codes"),
}

_IMAGE: dict[str, Entry] = {
    "history": ("image", "HISTORY", "Show the history of an image"),
    "import": ("archive", "IMPORT", "Import the contents from a tarball to create a filesystem image"),
    "inspect": ("inspect", "IMAGE_INSPECT", "Show all that is known of images"),
    "load": ("archive", "LOAD", "Load an image from a tar archive or STDIN"),
    "ls": ("image", "IMAGES", "List images"),
    "pull": ("pull", "PULL", "Download an image from a registry"),
    "push": ("push", "PUSH", "Upload an image to a registry"),
    "prune": ("prune", "IMAGE_PRUNE", "Remove unused images"),
    "rm": ("image", "RMI", "Remove one or more images"),
    "save": ("archive", "SAVE", "Save one or more images to a tar archive (to STDOUT by default)"),
    "tag": ("image", "TAG", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
}

_VOLUME: dict[str, Entry] = {
    "prune": ("prune", "VOLUME_PRUNE", "Remove unused local volumes"),
}

_SYSTEM: dict[str, Entry] = {
    "info": ("system", "INFO", "Show what the engine has and is set to"),
}

NOUNS: dict[str, tuple[str, dict[str, Entry]]] = {
    "container": ("Manage containers", _CONTAINER),
    "image": ("Manage images", _IMAGE),
    "system": ("Manage the engine", _SYSTEM),
    "volume": ("Manage volumes", _VOLUME),
}
"""Nouns: their summary and their commands."""

ALIASES: dict[str, dict[str, str]] = {
    "container": {"list": "ls", "ps": "ls", "remove": "rm"},
    "image": {"list": "ls", "remove": "rm"},
    "system": {},
    "volume": {},
}
"""Other names of a noun's commands."""

COMMANDS: dict[str, Entry] = {
    **{name: entry for name, entry in _CONTAINER.items() if name not in ("ls", "inspect", "prune")},
    "ps": _CONTAINER["ls"],
    "images": _IMAGE["ls"],
    "rmi": _IMAGE["rm"],
    **{name: _IMAGE[name] for name in ("history", "import", "load", "pull", "push", "save", "tag")},
    "completion": ("completion", "COMPLETION", "Print a shell's completion script (bash, zsh or fish)"),
    "inspect": ("inspect", "INSPECT", "Show all that is known of objects of any kind"),
    "info": _SYSTEM["info"],
    "login": ("login", "LOGIN", "Authenticate to a registry"),
    "logout": ("login", "LOGOUT", "Log out from a registry"),
    "postmortem": ("postmortem", "POSTMORTEM", "Tell of a container that was removed: how it ended, its last lines"),
    "why": ("native", "WHY", "Show what keeps a container, image, volume, layer or lease, or when it goes"),
    "version": ("system", "VERSION", "Show the versions of client and engine"),
}
"""The short forms, `corten ps`."""

COMMON = ("run", "exec", "ps", "pull", "push", "images", "version", "info")
"""What top-level help lists first."""
