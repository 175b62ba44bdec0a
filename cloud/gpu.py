"""GPUs of a cluster's nodes, which a pod has to ask for by the name that a device plugin gives them."""

import os
import re

from cloudedge.errors import InvalidInput

CLOUD_GPU = os.environ.get("CLOUDEDGE_GPU", "")
"""Name of the GPUs of which a pipeline's pretraining gets one, which a package says when it is compiled; empty: none."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def checked_gpu(name: str, what: str) -> str:
    """Return the name of GPUs as it is, if it is one.

    Args:
        name: Such as nvidia.com/gpu.
        what: Whom one of them is for, for the message.

    Raises:
        InvalidInput: it is none.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidInput(
            f"{name!r} cannot be the GPU of {what}: give the name that nodes offer it by, such as nvidia.com/gpu."
        )
    return name
