"""The enrolled edges as the cluster sees them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kubernetes import client

from cloud.cluster.api import Namespace
from cloud.fleet.enrolment import RunnerSpec, deployment, runner_name
from cloud.inboxes.config_maps import EDGE_LABEL, RUNNERS, ConfigMapInboxes, inbox_name
from cloudedge.documents import Inbox
from cloudedge.errors import Conflict, NotFound

_NODE_LABEL = "kubernetes.io/hostname"
"""What a runner is pinned to its node by."""


@dataclass(frozen=True)
class Edge:
    """An enrolled edge.

    Attributes:
        name: The edge's.
        node: Its node; empty if it has no runner, only an inbox.
        node_ready: Whether the node's agent answers the cloud; none: nobody knows such a node.
        node_seen: When it last did.
        image: Image of its runner.
        runner: How its runner's pod stands, as far as the cloud knows.
        why: Why it does not run, in the cluster's words where it has some; empty if it runs, or nobody says.
        restarts: How often the runner was started again.
        orders: Ids of its open orders.
        last_order: Id of the order that it was given last, open or not; empty if none ever was.
    """

    name: str
    node: str
    node_ready: bool | None
    node_seen: datetime | None
    image: str
    runner: str
    why: str
    restarts: int
    orders: tuple[str, ...]
    last_order: str


class Fleet:
    """All edges of one namespace."""

    def __init__(self, namespace: Namespace) -> None:
        """Ask the cluster for nothing yet."""
        self.inboxes = ConfigMapInboxes(namespace)
        self._namespace = namespace
        self._core = client.CoreV1Api(namespace.api)
        self._apps = client.AppsV1Api(namespace.api)

    def enroll(self, runner: RunnerSpec) -> None:
        """Make an edge known and have its runner started, or change how it is run; its inbox stays as it is.

        Raises:
            StoreFailed: the cluster refuses, or does not answer.
        """
        self.inboxes.enroll(runner.edge)
        name, body = runner_name(runner.edge), deployment(runner, self._namespace.name)
        try:
            self._asked(f"make Deployment {name}", self._apps.create_namespaced_deployment, self._namespace.name, body)
        except Conflict:
            replace = self._apps.replace_namespaced_deployment
            self._asked(f"change Deployment {name}", replace, name, self._namespace.name, body)

    def has_node(self, node: str) -> bool:
        """Whether the cluster has a node for runners that are pinned to this one."""
        selector = f"{_NODE_LABEL}={node}"
        return bool(self._asked(f"look for node {node}", self._core.list_node, label_selector=selector).items)

    def edges(self) -> list[Edge]:
        """All edges, sorted by name: four listings, however many they are."""
        inboxes = list(self.inboxes.all_with_last_orders())
        listed = self._apps.list_namespaced_deployment
        deployments = self._by_edge(self._asked("list deployments", listed, self._namespace.name, label_selector=RUNNERS))
        listed = self._core.list_namespaced_pod
        pods = self._by_edge(self._asked("list pods", listed, self._namespace.name, label_selector=RUNNERS))
        listing = self._asked("list nodes", self._core.list_node)
        nodes = {(node.metadata.labels or {}).get(_NODE_LABEL, ""): node for node in listing.items}
        return [
            _edge(inbox, last, deployments.get(inbox.edge), pods.get(inbox.edge), nodes)
            for inbox, last in sorted(inboxes, key=lambda each: each[0].edge)
        ]

    def remove(self, edge: str, *, force: bool = False) -> None:
        """Forget an edge. Its runner is ended; what it keeps on its node stays there.

        Raises:
            NotFound: it is not enrolled.
            Conflict: it has open orders, and `force` is not given.
        """
        orders = self.inboxes.read(edge).orders
        if orders and not force:
            raise Conflict(
                f"The edge {edge} has {len(orders)} open orders, {orders[0].id} among them: cancel their tasks, "
                "or remove it all the same with --force; its runs then wait for it in vain until their deadline."
            )
        for kind, delete, name in (
            ("Deployment", self._apps.delete_namespaced_deployment, runner_name(edge)),
            ("ConfigMap", self._core.delete_namespaced_config_map, inbox_name(edge)),
        ):
            try:
                self._asked(f"delete {kind} {name}", delete, name, self._namespace.name)
            except NotFound:
                continue  # An earlier try came this far.

    def _by_edge(self, listing: Any) -> dict[str, Any]:
        """The newest object of each edge: a pod on a node that is away may stay for long after it was deleted."""
        items = sorted(listing.items, key=lambda item: item.metadata.creation_timestamp)
        return {item.metadata.labels[EDGE_LABEL]: item for item in items if EDGE_LABEL in item.metadata.labels}

    def _asked(self, purpose: str, ask: Any, *arguments: Any, **options: Any) -> Any:
        return self._namespace.asked(purpose, ask, *arguments, **options)


def _edge(inbox: Inbox, last_order: str, found: Any, pod: Any, nodes: dict[str, Any]) -> Edge:
    spec = found.spec.template.spec if found else None
    node_name = (spec.node_selector or {}).get(_NODE_LABEL, "") if spec else ""
    node = nodes.get(node_name)
    ready = _condition(node, "Ready") if node else None
    return Edge(
        name=inbox.edge,
        node=node_name,
        node_ready=ready.status == "True" if ready else None,
        node_seen=ready.last_heartbeat_time if ready else None,
        image=spec.containers[0].image if spec else "",
        runner=_standing(pod) if pod else "no pod" if found else "not deployed",
        why=_why(found, pod, node_name, node) if found else "",
        restarts=sum(each.restart_count for each in (pod.status.container_statuses or ())) if pod else 0,
        orders=tuple(order.id for order in inbox.orders),
        last_order=last_order,
    )


def _standing(pod: Any) -> str:
    waiting = _waiting(pod)
    return str(waiting.state.waiting.reason if waiting else pod.status.phase.lower())


def _why(found: Any, pod: Any, node_name: str, node: Any) -> str:
    """The nearest cause that somebody names: the node's, the pod's, its container's."""
    if node is None:
        return f"The cluster has no node {node_name}: join it, or enroll the edge again with the right --node."
    if pod is None:
        failed = _condition(found, "ReplicaFailure")
        return str(failed.message) if failed else ""
    scheduled = _condition(pod, "PodScheduled")
    if scheduled and scheduled.status == "False":
        return str(scheduled.message or scheduled.reason or "")
    waiting = _waiting(pod)
    if waiting:
        ended = waiting.last_state.terminated if waiting.last_state else None
        last = f"it ended with {ended.exit_code}, {ended.reason}" if ended else ""
        return "; ".join(filter(None, (waiting.state.waiting.message, last)))
    ready = _condition(node, "Ready")
    if pod.status.phase == "Pending" and (ready is None or ready.status != "True"):
        return f"The node {node_name} does not answer the cloud: it starts the runner when it does."
    return str(pod.status.message or "")


def _condition(item: Any, kind: str) -> Any:
    return next((each for each in (item.status.conditions or ()) if each.type == kind), None)


def _waiting(pod: Any) -> Any:
    """The status of a container that waits for something, if one does."""
    return next((each for each in (pod.status.container_statuses or ()) if each.state and each.state.waiting), None)
