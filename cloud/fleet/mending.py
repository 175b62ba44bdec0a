"""What an edge's ConfigMap lacks to be its inbox, where somebody has changed it by hand."""

import json
from dataclasses import dataclass
from time import time
from typing import Any

from cloud.inboxes.config_maps import EDGE_LABEL, FILE, LAST_ORDER_ANNOTATION, labels_of
from cloudedge.documents import Inbox, parse
from cloudedge.documents.order import MAX_INBOX_BYTES
from cloudedge.errors import Conflict, InvalidDocument

_AHEAD_SECONDS = 60
"""A generation is no less than its time, and may be more where there were several changes in a second, or another clock."""

_SCHEMA_VERSION = Inbox.model_fields["schema_version"].default


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
    ours = EDGE_LABEL in labels or len(missing) < len(wanted) or LAST_ORDER_ANNOTATION in (found.metadata.annotations or {})
    if text is None and FILE not in (found.binary_data or {}) and not ours:
        raise Conflict(
            f"There is a ConfigMap {name} that is no inbox: it has no label of cloudedge's and no {FILE}. Delete it, or give "
            "the edge another name."
        )
    inbox, fault = _read(text, edge)
    said = _fields(text)
    version = said.get("schema_version")
    newer = inbox is None and isinstance(version, int) and version > _SCHEMA_VERSION
    patch: dict[str, Any] = {"metadata": {"resourceVersion": found.metadata.resource_version}}
    if inbox is None:
        generation = said.get("generation")
        following = max(generation + 1 if isinstance(generation, int) else 0, int(time()) + _AHEAD_SECONDS)
        patch["data"] = {FILE: Inbox(edge=edge, generation=following).to_json().decode()}
        if FILE in (found.binary_data or {}):
            patch["binaryData"] = {FILE: None}
    if missing:
        patch["metadata"]["labels"] = missing
    return Inspection(inbox, fault, newer, patch if inbox is None or missing else None)


def _read(text: str | None, edge: str) -> tuple[Inbox | None, str]:
    if text is None:
        return None, f"it has no {FILE}"
    try:
        inbox = parse(Inbox, text, FILE, MAX_INBOX_BYTES, stored=True)
    except InvalidDocument as error:
        return None, "; ".join(error.faults)
    return (inbox, "") if inbox.edge == edge else (None, f"it holds the inbox of {inbox.edge}")


def _fields(text: str | None) -> dict[str, Any]:
    """What can be understood of something that is no inbox."""
    try:
        fields = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
