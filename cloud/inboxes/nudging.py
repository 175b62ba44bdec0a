"""Nudging edges again whose orders are not accepted.

The nudge that follows an update is lost where the node hears of it before it has the inbox, as happens after it was away.
Therefore an edge is nudged once more when its node confirms an inbox. That may go unseen; so all who have not accepted are
nudged now and then, ever more seldom.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from math import ceil
from time import monotonic
from typing import Any

import urllib3
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

from cloud.cluster.api import TIMEOUT_SECONDS, Namespace, said
from cloudedge.errors import StoreFailed

_log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0
"""Before all who have not accepted are nudged: at first, and at most; each pause is twice the one before."""

LOOK_SECONDS = 10.0
"""A look at what nodes confirm ends after this, so that its thread soon ends too; and one that failed is tried again."""

_LEAST_LOOK_SECONDS = 1.0
"""Two looks begin no nearer to each other: a proxy may let no answer last."""

_GROUP, _VERSION, _OBJECT_SYNCS = "reliablesyncs.kubeedge.io", "v1alpha1", "objectsyncs"
"""KubeEdge keeps one for each object and node, with the version of the object that the node has confirmed."""


class Nudges:
    """Nudges edges until they have accepted their orders."""

    def __init__(
        self,
        edges: Collection[str],
        accepted: Callable[[str], bool],
        nudge: Callable[[str], None],
        arrivals: Callable[[float], Iterable[str]],
    ) -> None:
        """Nudge nobody yet.

        Args:
            edges: Those with an order.
            accepted: Whether an edge has accepted its order.
            nudge: Nudges an edge. Raises StoreFailed.
            arrivals: Tells for so many seconds which edges' nodes confirm an inbox. Raises StoreFailed.
        """
        self._edges = edges
        self._accepted = accepted
        self._nudge = nudge
        self._arrivals = arrivals

    def run(self, over: threading.Event) -> None:
        """Go on until it is over."""
        pause = FIRST_PAUSE_SECONDS
        while not over.is_set():
            due = monotonic() + pause
            while not over.is_set() and (left := due - monotonic()) > 0:
                seconds = min(left, LOOK_SECONDS)
                least = monotonic() + _LEAST_LOOK_SECONDS
                try:
                    self._nudge_all(self._arrivals(seconds), over)
                except StoreFailed as error:
                    _log.info("%s", error)
                    over.wait(seconds)
                over.wait(max(0.0, least - monotonic()))
            try:
                self._nudge_all(self._edges, over)
            except StoreFailed as error:
                _log.warning("edges that have not accepted their orders are not nudged now: %s", error)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _nudge_all(self, edges: Iterable[str], over: threading.Event) -> None:
        for edge in edges:
            if over.is_set():
                return
            if edge in self._edges and not self._accepted(edge):
                self._nudge(edge)


class Arrivals:
    """Tells which ConfigMaps nodes have received."""

    def __init__(self, namespace: Namespace) -> None:
        """Ask the cluster for nothing yet."""
        self._namespace = namespace
        self._objects = client.CustomObjectsApi(namespace.api)
        self._version = ""

    def config_maps(self, seconds: float) -> Iterator[str]:
        """Names of ConfigMaps as they arrive at nodes, for so long; those between two calls are not missed.

        Raises:
            StoreFailed: nobody tells. What arrives until the next call is missed.
        """
        where = (_GROUP, _VERSION, self._namespace.name, _OBJECT_SYNCS)
        listed = self._objects.list_namespaced_custom_object
        lasting = ceil(seconds)
        try:
            if not self._version:
                newest = listed(*where, limit=1, _request_timeout=TIMEOUT_SECONDS)
                self._version = newest["metadata"]["resourceVersion"]
            for event in watch.Watch().stream(
                listed,
                *where,
                resource_version=self._version,
                allow_watch_bookmarks=True,  # Where nothing arrives for long, the version would become too old to go on from.
                timeout_seconds=lasting,
                _request_timeout=(TIMEOUT_SECONDS[0], lasting + TIMEOUT_SECONDS[0]),
            ):
                found = event["object"]
                self._version = found["metadata"]["resourceVersion"]
                if event["type"] in ("ADDED", "MODIFIED") and _is_confirmed_config_map(found):
                    yield found["spec"]["objectName"]
        except (ApiException, urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError) as error:
            self._version = ""
            raise StoreFailed(f"It is not known which inboxes arrive at their nodes: {said(error)}") from None


def _is_confirmed_config_map(found: dict[str, Any]) -> bool:
    return found["spec"]["objectKind"] == "ConfigMap" and bool(found.get("status", {}).get("objectResourceVersion"))
