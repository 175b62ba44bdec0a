"""The images that a cluster runs: those of this version, unless it is told others."""

import os
import re

from cloudedge import __version__
from cloudedge.errors import InvalidInput

EDGE_IMAGE = f"cloudedge/edge:{__version__}"
"""The image of a runner."""

CLOUD_IMAGE = os.environ.get("CLOUDEDGE_IMAGE") or f"cloudedge/cloud:{__version__}"
"""The image of a pipeline's steps, which a package names when it is compiled."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9._/:-]{0,253}[a-z0-9])?(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?")


def checked_image(name: str, what: str) -> str:
    """Return the name of an image as it is, if it is one.

    Args:
        name: Such as registry.example:5000/team/edge:1.0.
        what: What it is the image of, for the message.

    Raises:
        InvalidInput: it is none.
    """
    if not _NAME.fullmatch(name) or ".." in name or "//" in name:
        raise InvalidInput(f"{name!r} cannot be the image of {what}: give a name such as registry.example/team/edge:1.0.")
    return name
