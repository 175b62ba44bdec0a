"""The edges' inboxes by their address."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cloud.inboxes.base import Inboxes
from cloud.inboxes.directory import DirectoryInboxes
from cloudedge.errors import InvalidInput

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def open_inboxes(address: str, *, patience_seconds: float) -> Inboxes:
    """Open the inboxes at an address.

    Args:
        address: file:///folder, with one mounted directory per edge, or configmaps://namespace of the cluster that this
            process runs in or that the kubeconfig names.
        patience_seconds: How long an API server that does not answer is asked again.

    Raises:
        InvalidInput: the address is of no known kind, or there is no cluster.
    """
    parts = urlsplit(address)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return DirectoryInboxes(Path(unquote(parts.path, errors="surrogateescape")))
    if parts.scheme == "configmaps" and _NAMESPACE.fullmatch(parts.netloc) and not parts.path.strip("/"):
        from cloud.cluster.api import Namespace, connect
        from cloud.inboxes.config_maps import ConfigMapInboxes  # It takes a second, and laptops do without.

        return ConfigMapInboxes(Namespace(parts.netloc, connect(), patience_seconds))
    raise InvalidInput(f"The inboxes' address is {address!r}; give file:///folder, or configmaps://namespace of a cluster.")
