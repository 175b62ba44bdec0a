"""Inboxes as ConfigMaps, one per edge, which KubeEdge carries to the edge's node.

A ConfigMap is updated in place and never made anew, as KubeEdge may lose sight of one that was. By itself it takes up to a
minute and a half to reach a running pod; therefore the runner's pod is nudged after each update: an annotation of it is
changed, upon which its node synchronises at once. A nudge that fails costs time and no order.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from cloudedge.documents import Inbox, parse
from cloudedge.documents.order import MAX_INBOX_BYTES
from cloudedge.errors import Conflict, InvalidInput, NotFound, StoreFailed
from cloudedge.names import checked_name
from components.shared.inboxes.base import MakeOrders, write_orders

_log = logging.getLogger(__name__)

FILE = "inbox.json"
EDGE_LABEL = "cloudedge.io/edge"
"""On all that belongs to an edge: its ConfigMap, its Deployment, the pods of that."""

INBOXES = "app.kubernetes.io/name=cloudedge,app.kubernetes.io/component=inbox"
RUNNERS = "app.kubernetes.io/name=cloudedge,app.kubernetes.io/component=runner"
NUDGE_ANNOTATION = "cloudedge.io/nudged-by-generation"

_TIMEOUT_SECONDS = (5, 60)
_PAGE = 500
_PAUSE_SECONDS = (0.1, 5.0)
_PASSING = {0, 408, 429, 500, 502, 503, 504}
_METADATA_ALONE = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

T = TypeVar("T")


def inbox_name(edge: str) -> str:
    """Name of an edge's ConfigMap."""
    return f"cloudedge-inbox-{edge}"


def labels_of(edge: str, component: str) -> dict[str, str]:
    """Labels of an object that belongs to an edge: its 'inbox' or its 'runner'."""
    return {"app.kubernetes.io/name": "cloudedge", "app.kubernetes.io/component": component, EDGE_LABEL: edge}


def connect() -> client.ApiClient:
    """The cluster that this process runs in, else that of the kubeconfig.

    Raises:
        InvalidInput: there is neither.
    """
    try:
        try:
            config.load_incluster_config()
        except config.ConfigException:
            config.load_kube_config()
    except (config.ConfigException, OSError) as error:
        raise InvalidInput(f"There is no cluster to talk to: {error}. Set KUBECONFIG.") from None
    settings = client.Configuration.get_default_copy()
    settings.retries = False  # `_asked` knows what is worth another try, and for how long.
    settings.connection_pool_maxsize = 32
    return client.ApiClient(settings)


class ConfigMapInboxes:
    """One ConfigMap per edge in one namespace."""

    def __init__(self, namespace: str, api: client.ApiClient, patience_seconds: float) -> None:
        """Ask the cluster for nothing yet.

        Args:
            namespace: Where the edges' objects are.
            api: The cluster.
            patience_seconds: How long an API server that does not answer is asked again, in seconds.
        """
        self._namespace = namespace
        self._api = api
        self._core = client.CoreV1Api(api)
        self._patience = patience_seconds
        self._pods: dict[str, list[str]] | None = None

    def enroll(self, edge: str) -> None:
        """See `Inboxes.enroll`; only the ConfigMap is made here."""
        name = inbox_name(checked_name(edge, "an edge"))
        content = Inbox(edge=edge, generation=0).to_json().decode()
        body = {"metadata": {"name": name, "labels": labels_of(edge, "inbox")}, "data": {FILE: content}}
        try:
            self._asked(f"make ConfigMap {name}", self._core.create_namespaced_config_map, self._namespace, body)
        except Conflict:
            return  # It is there, with what is in it.

    def edges(self) -> list[str]:
        """See `Inboxes.edges`."""
        return sorted(labels[EDGE_LABEL] for _, labels in self._metadata("configmaps", INBOXES))

    def read(self, edge: str) -> Inbox:
        """See `Inboxes.read`."""
        return self._read(edge)[0]

    def update(self, edge: str, make_orders: MakeOrders) -> Inbox:
        """See `Inboxes.update`."""
        name = inbox_name(checked_name(edge, "an edge"))
        while True:
            inbox, version = self._read(edge)
            following = write_orders(inbox, make_orders)
            if following is None:
                return inbox
            # With its version the patch is refused if somebody else was faster.
            body = {"metadata": {"resourceVersion": version}, "data": {FILE: following.to_json().decode()}}
            try:
                self._asked(f"change ConfigMap {name}", self._core.patch_namespaced_config_map, name, self._namespace, body)
            except Conflict:
                if self._read(edge)[0] != following:  # Else only the answer to an earlier try was lost.
                    continue
            self._nudge(edge, following.generation)
            return following

    def _read(self, edge: str) -> tuple[Inbox, str]:
        """An inbox and its version."""
        name = inbox_name(checked_name(edge, "an edge"))
        try:
            found = self._asked(f"read ConfigMap {name}", self._core.read_namespaced_config_map, name, self._namespace)
        except NotFound:
            known = ", ".join(self.edges()) or "none"
            raise NotFound(f"No edge {edge!r} is enrolled; enrolled are: {known}.") from None
        content = (found.data or {}).get(FILE, "")
        return parse(Inbox, content, f"ConfigMap {self._namespace}/{name}", MAX_INBOX_BYTES), found.metadata.resource_version

    def _nudge(self, edge: str, generation: int) -> None:
        """Have the node of the edge's runner synchronise now; no order depends on it."""
        body = {"metadata": {"annotations": {NUDGE_ANNOTATION: str(generation)}}}
        try:
            for pod in self._pods_of(edge):
                try:
                    self._core.patch_namespaced_pod(pod, self._namespace, body, _request_timeout=_TIMEOUT_SECONDS)
                except ApiException as error:
                    if error.status != 404:
                        raise
                    self._pods = None  # It was replaced since; the next look finds the new one, which starts with the inbox.
        except (ApiException, urllib3.exceptions.HTTPError, StoreFailed) as error:
            _log.warning("the runner of %s is not nudged, so its order takes up to 90 s to arrive: %s", edge, _said(error))

    def _pods_of(self, edge: str) -> list[str]:
        if self._pods is None or edge not in self._pods:
            # One listing for all edges: a dispatch nudges many.
            found: dict[str, list[str]] = {}
            for name, labels in self._metadata("pods", RUNNERS):
                found.setdefault(labels[EDGE_LABEL], []).append(name)
            self._pods = {edge: [], **found}
        return self._pods[edge]

    def _metadata(self, kind: str, selector: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Names and labels of objects, a page at a time, without what is in them."""
        path = f"/api/v1/namespaces/{self._namespace}/{kind}"
        after = ""
        while True:
            query = {"labelSelector": f"{selector},{EDGE_LABEL}", "limit": str(_PAGE), **({"continue": after} if after else {})}
            page = self._asked(
                f"list {kind}",
                self._api.call_api,
                path,
                "GET",
                query_params=list(query.items()),
                header_params={"Accept": _METADATA_ALONE},
                auth_settings=["BearerToken"],
                response_type="object",
                _return_http_data_only=True,
            )
            for item in page["items"] or ():
                yield item["metadata"]["name"], item["metadata"]["labels"]
            after = page["metadata"].get("continue", "")
            if not after:
                return

    def _asked(self, purpose: str, ask: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Ask the API server, again and again while it does not answer.

        Raises:
            NotFound: there is no such object.
            Conflict: it exists, or was changed in the meantime.
            InvalidInput: it is too large for the API server.
            StoreFailed: the API server refuses, or did not answer for as long as there is patience.
        """
        end = time.monotonic() + self._patience
        pause, most = _PAUSE_SECONDS
        while True:
            try:
                return ask(*arguments, **options, _request_timeout=_TIMEOUT_SECONDS)
            except ApiException as error:
                if error.status not in _PASSING:
                    raise self._refusal(purpose, error) from None
                failed = error
            except urllib3.exceptions.HTTPError as error:
                failed = error
            if time.monotonic() + pause > end:
                raise StoreFailed(
                    f"The cluster's API server does not answer when asked to {purpose}: {_said(failed)}. "
                    "Check that it runs and can be reached."
                )
            _log.warning("the API server does not answer when asked to %s: %s", purpose, _said(failed))
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, most)

    def _refusal(self, purpose: str, error: ApiException) -> Exception:
        said = f"It was not possible to {purpose} in namespace {self._namespace}: {_said(error)}"
        kinds = {404: NotFound, 409: Conflict, 413: InvalidInput, 422: InvalidInput}
        remedies = {
            401: " Renew the credentials in the kubeconfig.",
            403: " Give this account the role 'cloudedge-dispatch' there; see docs/cluster.md.",
            413: " Cancel some tasks first.",
            422: " Cancel some tasks first.",
        }
        return kinds.get(error.status, StoreFailed)(said + remedies.get(error.status, ""))


def _said(error: Exception) -> str:
    """What the API server said, in one line."""
    if isinstance(error, ApiException):
        try:
            import json

            return f"{error.status}: {json.loads(error.body or '{}')['message']}"
        except (KeyError, TypeError, ValueError):
            return f"{error.status}: {error.reason}"
    return " ".join(str(error).split())
