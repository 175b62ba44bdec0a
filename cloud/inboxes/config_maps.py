"""Inboxes as ConfigMaps, one per edge, which KubeEdge carries to the edge's node.

A ConfigMap is updated in place and never made anew, as KubeEdge may lose sight of one that was. By itself it takes up to a
minute and a half to reach a running pod; therefore the runner's pod is nudged after each update: an annotation of it is
changed, upon which its node synchronises at once. While somebody waits for an edge to accept its order, it is nudged again. A
nudge that fails costs time and no order.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cloud.cluster.api import TIMEOUT_SECONDS, Namespace, said
from cloud.cluster.where import Where
from cloud.inboxes.base import MakeOrders, UnusableInbox, parsed, write_orders
from cloud.inboxes.nudging import Arrivals, Nudges
from cloudedge.documents import Inbox
from cloudedge.errors import Conflict, NotFound, StoreFailed
from cloudedge.names import NAME, checked_name

_log = logging.getLogger(__name__)

FILE = "inbox.json"
EDGE_LABEL = "cloudedge.io/edge"
"""On all that belongs to an edge: its ConfigMap, its Deployment, the pods of that."""

_COMPONENT_LABEL = "app.kubernetes.io/component"
"""Of an inbox 'inbox': the pipeline's account may change no ConfigMap without it."""

RUNNERS = "app.kubernetes.io/name=cloudedge,app.kubernetes.io/component=runner"
_INBOX = "cloudedge-inbox-"
_PAGE = 500
_LOOK_SECONDS, _LOOK_AGAIN_SECONDS = 10.0, 600.0
"""Least time between two listings of the runners' pods: where an edge is missing in the last one, and else."""

NUDGE_ANNOTATION = "cloudedge.io/nudged-at"
"""On a runner's pod: when it was nudged last. Only a value that changes is a nudge."""

LAST_ORDER_ANNOTATION = "cloudedge.io/last-order"
"""On an inbox: id of the order that was put into it last. It stays when the order is closed, as its report still tells of the
edge."""


IMMUTABLE = "it is immutable, which the API server lets nobody undo"


def remade(edge: str) -> str:
    """How an edge gets an inbox anew that can only be made anew."""
    return (
        f"'cloudedge edges remove {edge} --force' removes it, and then 'cloudedge edges enroll {edge} --node NODE' makes "
        "another; its orders are lost."
    )


def inbox_name(edge: str) -> str:
    """Name of an edge's ConfigMap."""
    return f"{_INBOX}{edge}"


def edge_of(name: str) -> str:
    """Whose inbox a ConfigMap of this name is, if it is ours; empty: nobody's."""
    edge = name.removeprefix(_INBOX)
    return edge if name.startswith(_INBOX) and re.fullmatch(NAME, edge) else ""


def is_ours(found: Any) -> bool:
    """Whether a ConfigMap that has an inbox' name has anything else of one: a label, an annotation or the file."""
    kept = {**(found.data or {}), **(found.binary_data or {})}
    return _is_marked(found.metadata.labels, found.metadata.annotations) or FILE in kept


def _is_marked(labels: dict[str, str] | None, annotations: dict[str, str] | None) -> bool:
    """Whether an object of an inbox' name has a label or an annotation of one."""
    labels = labels or {}
    marked = EDGE_LABEL in labels or LAST_ORDER_ANNOTATION in (annotations or {})
    return marked or any(labels.get(label) == value for label, value in labels_of("", "inbox").items())


def labels_of(edge: str, component: str) -> dict[str, str]:
    """Labels of an object that belongs to an edge: its 'inbox' or its 'runner'."""
    return {"app.kubernetes.io/name": "cloudedge", _COMPONENT_LABEL: component, EDGE_LABEL: edge}


def empty_inbox(edge: str, namespace: str) -> dict[str, Any]:
    """An edge's ConfigMap as it is at first."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": inbox_name(edge), "namespace": namespace, "labels": labels_of(edge, "inbox")},
        "data": {FILE: Inbox(edge=edge, generation=0).to_json().decode()},
    }


class _Contended(StoreFailed):
    """Others change an inbox again and again."""


class ConfigMapInboxes:
    """One ConfigMap per edge in one namespace."""

    def __init__(self, namespace: Namespace) -> None:
        """Ask the cluster for nothing yet."""
        self._namespace = namespace
        self._core = client.CoreV1Api(namespace.api)
        self._pods: dict[str, list[str]] = {}
        self._looked_at = float("-inf")
        self._looking = threading.Lock()

    @property
    def where(self) -> Where:
        """See `Inboxes.where`."""
        return self._namespace.where

    def enroll(self, edge: str) -> None:
        """See `Inboxes.enroll`; only the ConfigMap is made here."""
        name = inbox_name(checked_name(edge, "an edge"))
        body = empty_inbox(edge, self._namespace.name)
        try:
            self._namespace.asked(f"make ConfigMap {name}", self._core.create_namespaced_config_map, self._namespace.name, body)
        except Conflict:
            return  # It is there, with what is in it.

    def edges(self) -> list[str]:
        """See `Inboxes.edges`."""
        found, some = [], False
        for metadata in self._namespace.metadata("configmaps"):
            some = True
            if (edge := edge_of(metadata["name"])) and self._is_ours(metadata):
                found.append(edge)
        if not some:
            self._namespace.require()
        return sorted(found)

    def all(self) -> Iterator[Inbox | UnusableInbox]:
        """See `Inboxes.all`."""
        return (inbox for inbox, _ in self.all_with_last_orders())

    def all_with_last_orders(self) -> Iterator[tuple[Inbox | UnusableInbox, str]]:
        """All inboxes, sorted by edge, and the id of the order that was put into each last; empty if none ever was.

        Whose an inbox is, its name says: it is what a runner mounts. Labels may be lost, so all ConfigMaps are listed. One that
        has nothing of an inbox but such a name is no edge's.
        """
        after, some = None, False
        while True:
            page = self._namespace.asked(
                "list ConfigMaps",
                self._core.list_namespaced_config_map,
                self._namespace.name,
                limit=_PAGE,
                **({"_continue": after} if after else {}),
            )
            some = some or bool(page.items)
            for found in page.items:
                if edge_of(found.metadata.name) or _has_our_labels(found):
                    yield self._parsed(found), (found.metadata.annotations or {}).get(LAST_ORDER_ANNOTATION, "")
            after = page.metadata._continue
            if not after:
                break
        if not some:
            self._namespace.require()

    def read(self, edge: str) -> Inbox:
        """See `Inboxes.read`."""
        return self._read(edge)[0]

    def update(self, edge: str, make_orders: MakeOrders) -> Inbox:
        """See `Inboxes.update`."""
        name = inbox_name(checked_name(edge, "an edge"))
        patience = self._namespace.patience()
        while True:
            inbox, version = self._read(edge)
            next_inbox = write_orders(inbox, make_orders)
            if next_inbox is None:
                return inbox
            # With its version the patch is refused if somebody else was faster.
            body: dict[str, Any] = {"metadata": {"resourceVersion": version}, "data": {FILE: next_inbox.to_json().decode()}}
            known = {order.id for order in inbox.orders}
            for order in next_inbox.orders:
                if order.id not in known:
                    body["metadata"]["annotations"] = {LAST_ORDER_ANNOTATION: order.id}
            try:
                self._namespace.asked(
                    f"change ConfigMap {name}", self._core.patch_namespaced_config_map, name, self._namespace.name, body
                )
            except Conflict as error:
                if self._read(edge)[0] != next_inbox:  # Else only the answer to an earlier try was lost.
                    patience.wait(_Contended(f"{error} Others change it again and again."))
                    continue
            try:
                self._nudge(edge)
            except StoreFailed as error:
                _log.warning("the runner of %s is not nudged, so its order may take 90 s to arrive: %s", edge, error)
            return next_inbox

    @contextmanager
    def nudging(self, edges: Collection[str], accepted: Callable[[str], bool]) -> Iterator[None]:
        """See `Inboxes.nudging`."""
        arrivals = Arrivals(self._namespace)

        def arrived(seconds: float) -> Iterator[str]:
            return (edge for name in arrivals.config_maps(seconds) if (edge := edge_of(name)))

        over = threading.Event()
        nudges = Nudges(edges, accepted, self._nudge, arrived)
        threading.Thread(target=nudges.run, args=(over,), name="nudges", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _is_ours(self, metadata: dict[str, Any]) -> bool:
        """Whether a ConfigMap of an inbox' name is one; where nothing in its metadata says so, what is in it may."""
        if _is_marked(metadata.get("labels"), metadata.get("annotations")):
            return True
        name = metadata["name"]
        try:
            read = self._core.read_namespaced_config_map
            return is_ours(self._namespace.asked(f"read ConfigMap {name}", read, name, self._namespace.name))
        except NotFound:  # It was deleted since.
            return False

    def _read(self, edge: str) -> tuple[Inbox, str]:
        """An inbox and its version."""
        name = inbox_name(checked_name(edge, "an edge"))
        try:
            found = self._namespace.asked(
                f"read ConfigMap {name}", self._core.read_namespaced_config_map, name, self._namespace.name
            )
        except NotFound:
            known = ", ".join(self.edges()) or "none"
            raise NotFound(f"No edge {edge!r} is enrolled; enrolled are: {known}.") from None
        inbox = self._parsed(found)
        if isinstance(inbox, UnusableInbox):
            raise inbox
        return inbox, found.metadata.resource_version

    def _parsed(self, found: Any) -> Inbox | UnusableInbox:
        namespace, name = self._namespace.name, found.metadata.name
        source, edge = f"ConfigMap {namespace}/{name}", edge_of(name)
        if not edge:
            fault = f"its name is not {_INBOX}EDGE, so that no runner follows it"
            way_out = f"Delete it, or take an inbox' labels from it: kubectl -n {namespace} delete configmap {name}"
            return UnusableInbox("", source, [fault], way_out)
        if not is_ours(found):
            fault = f"it has an inbox' name, and nothing else of cloudedge's: no label, no annotation, no {FILE}"
            way_out = f"Give it another name, or delete it: kubectl -n {namespace} delete configmap {name}"
            return UnusableInbox("", source, [fault], way_out)
        if found.immutable:
            return UnusableInbox(edge, source, [IMMUTABLE], remade(edge))
        component = (found.metadata.labels or {}).get(_COMPONENT_LABEL)
        if component != "inbox":
            fault = f"label {_COMPONENT_LABEL}: found {component!r}; an inbox has 'inbox'"
            way_out = f"'cloudedge edges enroll {edge} --node NODE' gives it its labels again; its orders stay."
            return UnusableInbox(edge, source, [fault], way_out)
        way_out = (
            f"'cloudedge edges enroll {edge} --node NODE' puts an empty one in its place; "
            f"'cloudedge edges remove {edge} --force' forgets the edge."
        )
        text = (found.data or {}).get(FILE)
        return (
            UnusableInbox(edge, source, [f"it has no {FILE}"], way_out) if text is None else parsed(edge, text, source, way_out)
        )

    def _nudge(self, edge: str) -> None:
        """Have the node of the edge's runner synchronise now; no order depends on it.

        Raises:
            StoreFailed: the API server does not do it.
        """
        body = {"metadata": {"annotations": {NUDGE_ANNOTATION: datetime.now(UTC).isoformat(timespec="microseconds")}}}
        for pod in self._pods_of(edge):
            try:
                self._core.patch_namespaced_pod(pod, self._namespace.name, body, _request_timeout=TIMEOUT_SECONDS)
            except (ApiException, urllib3.exceptions.HTTPError) as error:
                if not isinstance(error, ApiException) or error.status != 404:
                    raise StoreFailed(f"It was not possible to change pod {pod}: {said(error)}") from None
                self._looked_at = float("-inf")  # It was replaced since. The new one starts with the inbox.

    def _pods_of(self, edge: str) -> list[str]:
        with self._looking:  # One listing for all edges, as a dispatch nudges many at once.
            now = time.monotonic()
            if now - self._looked_at > (_LOOK_SECONDS if edge not in self._pods else _LOOK_AGAIN_SECONDS):
                self._pods = {}
                for metadata in self._namespace.metadata("pods", f"{RUNNERS},{EDGE_LABEL}"):
                    self._pods.setdefault(metadata["labels"][EDGE_LABEL], []).append(metadata["name"])
                self._looked_at = now
            return self._pods.get(edge, [])


def _has_our_labels(found: Any) -> bool:
    labels = found.metadata.labels or {}
    return labels.get("app.kubernetes.io/name") == "cloudedge" and labels.get(_COMPONENT_LABEL) == "inbox"
