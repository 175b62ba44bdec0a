"""What an edge's ConfigMap lacks to be its inbox, where somebody has changed it by hand."""

from dataclasses import dataclass
from typing import Any

from cloud.inboxes.base import UnusableInbox, anew, parsed
from cloud.inboxes.config_maps import FILE, is_ours, labels_of
from cloudedge.documents import Inbox
from cloudedge.errors import Conflict


@dataclass(frozen=True)
class Inspection:
    """What stands in an edge's ConfigMap.

    Attributes:
        inbox: The inbox; none if it cannot be read.
        fault: Why it cannot.
        newer: Whether a newer version of cloudedge wrote it, to which it means something.
        patch: What makes an inbox of the ConfigMap again; none if it is one.
    """

    inbox: Inbox | None
    fault: str
    newer: bool
    patch: dict[str, Any] | None


def inspected(found: Any, edge: str) -> Inspection:
    """Look at an edge's ConfigMap.

    It is mended in place, as KubeEdge may lose sight of one that was made anew. An inbox that cannot be read is replaced by an
    empty one that is newer than any that the edge's runner has followed.

    Raises:
        Conflict: it is not ours: only its name is.
    """
    name, labels, text = found.metadata.name, found.metadata.labels or {}, (found.data or {}).get(FILE)
    wanted = labels_of(edge, "inbox")
    missing = {label: value for label, value in wanted.items() if labels.get(label) != value}
    if not is_ours(found):
        raise Conflict(
            f"There is a ConfigMap {name} that is no inbox: it has no label of cloudedge's and no {FILE}. Delete it, or give "
            "the edge another name."
        )
    inbox = UnusableInbox(edge, name, [f"it has no {FILE}"], "") if text is None else parsed(edge, text, name, "")
    patch: dict[str, Any] = {"metadata": {"resourceVersion": found.metadata.resource_version}}
    if missing:
        patch["metadata"]["labels"] = missing
    if isinstance(inbox, Inbox):
        return Inspection(inbox, "", newer=False, patch=patch if missing else None)
    patch["data"] = {FILE: anew(edge, text or "").to_json().decode()}
    if FILE in (found.binary_data or {}):
        patch["binaryData"] = {FILE: None}
    return Inspection(None, "; ".join(inbox.faults), inbox.newer, patch)
