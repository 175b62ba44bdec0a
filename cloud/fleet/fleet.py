"""The enrolled edges as the cluster sees them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kubernetes import client

from cloud.cluster.api import Namespace, Refused
from cloud.cluster.where import Where
from cloud.faults import Faults
from cloud.fleet.enrolment import ACCOUNT, RunnerSpec, deployment, runner_name
from cloud.fleet.mending import Inspection, inspected
from cloud.inboxes import UnusableInbox
from cloud.inboxes.config_maps import EDGE_LABEL, IMMUTABLE, RUNNERS, ConfigMapInboxes, empty_inbox, inbox_name, remade
from cloudedge.documents import Inbox
from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, NotFound
from cloudedge.names import checked_name

_NODE_LABEL = "kubernetes.io/hostname"
"""What a runner is pinned to its node by."""

RIGHTS = "the role 'cloudedge-enrolment'"
"""What it takes to enroll, to look at and to remove edges."""
_OF_NODES = "the cluster role 'cloudedge-nodes'"

_NOT_TRIED = "does not support dry run"
"""What the API server says where a webhook of the cluster's would have to be asked, and cannot be just for a try."""


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
        orders: Ids of its open orders; none are known where its inbox cannot be used.
        last_order: Id of the order that it was given last, open or not; empty if none ever was.
        inbox_fault: Why its inbox cannot be used, with the way out; empty if it can.
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
    inbox_fault: str


class Fleet:
    """All edges of one namespace."""

    def __init__(self, namespace: Namespace) -> None:
        """Ask the cluster for nothing yet."""
        self.inboxes = ConfigMapInboxes(namespace)
        self._namespace = namespace
        self._core = client.CoreV1Api(namespace.api)
        self._apps = client.AppsV1Api(namespace.api)

    @property
    def where(self) -> Where:
        """Which namespace of which cluster they are in."""
        return self._namespace.where

    def enroll(self, runner: RunnerSpec) -> str:
        """Make an edge known and have its runner started, or change how it is run; its inbox stays as it is.

        All or nothing: the cluster is asked first whether it would take both objects, and the inbox, by which rounds know the
        edge, comes last. Interrupted in between, the same call completes it. An inbox that cannot be read is made empty.

        Returns:
            Why the inbox could not be read, with which its orders are lost; empty: it could.

        Raises:
            NotFound: the namespace is not there, or has not what runners need.
            InvalidInput: the cluster cannot use what is asked for.
            Conflict: what has the inbox's name is none.
            StoreFailed: the cluster refuses, or does not answer.
        """
        edge, body = runner.edge, deployment(runner, self._namespace.name)
        self.require_prepared()
        found = self._config_map(edge)
        if found and found.immutable:
            raise Conflict(f"The inbox of the edge {edge} takes no order: {IMMUTABLE}. {remade(edge)}")
        inspection = inspected(found, edge) if found else None
        if inspection and inspection.newer:
            raise InvalidInput(f"A newer version of cloudedge wrote the inbox of the edge {edge}: enroll it with that one.")
        self._tried(self._put_runner, edge, body)
        self._tried(self._put_inbox, edge, inspection)
        former = self._runner(edge)
        self._put_runner(edge, body)
        try:
            self._put_inbox(edge, inspection)
        except (Refused, InvalidInput, NotFound, Conflict) as error:
            self._restore_runner(edge, former, error)
            raise
        return inspection.fault if inspection else ""

    def require_prepared(self) -> None:
        """Find out whether the namespace has what runners need, as far as this account may.

        Raises:
            NotFound: it has not.
        """
        try:
            look = self._core.read_namespaced_service_account
            self._asked(f"look for the account {ACCOUNT}", look, ACCOUNT, self._namespace.name)
        except NotFound:
            self._namespace.require()
            raise NotFound(
                f"No runner can start in {self.where}, which has no account {ACCOUNT}: apply the manifests "
                "(docs/guide-administrator.md), or correct CLOUDEDGE_INBOXES (the manifests make cloudedge-edges)."
            ) from None
        except Refused:
            return  # Who may enroll need not be allowed to see accounts.

    def has_node(self, node: str) -> bool:
        """Whether the cluster has a node for runners that are pinned to this one."""
        selector = f"{_NODE_LABEL}={node}"
        return bool(self._asked(f"look for node {node}", self._core.list_node, label_selector=selector, rights=_OF_NODES).items)

    def edges(self, faults: Faults) -> list[Edge]:
        """All edges, sorted by name: four listings, however many they are.

        What has an inbox' labels or name and is no edge's is noted among the faults.
        """
        inboxes = []
        for inbox, last in self.inboxes.all_with_last_orders():
            if isinstance(inbox, UnusableInbox) and not inbox.edge:
                faults.note(inbox)
            else:
                inboxes.append((inbox, last))
        listed = self._apps.list_namespaced_deployment
        deployments = self._by_edge(self._asked("list deployments", listed, self._namespace.name, label_selector=RUNNERS))
        listed = self._core.list_namespaced_pod
        pods = self._by_edge(self._asked("list pods", listed, self._namespace.name, label_selector=RUNNERS))
        listing = self._asked("list nodes", self._core.list_node, rights=_OF_NODES)
        nodes = {(node.metadata.labels or {}).get(_NODE_LABEL, ""): node for node in listing.items}
        return [
            _edge(inbox, last, deployments.get(inbox.edge), pods.get(inbox.edge), nodes)
            for inbox, last in sorted(inboxes, key=lambda each: each[0].edge)
        ]

    def remove(self, edge: str, *, force: bool = False) -> None:
        """Forget an edge. Its runner is ended; what it keeps on its node stays there.

        The inbox goes first, so that no round addresses half an edge; after an interruption the same call removes the rest.

        Raises:
            NotFound: it is not enrolled.
            Conflict: it has open orders, or nobody can tell, and `force` is not given; or what has its inbox's name is none.
        """
        found, runner = self._config_map(edge), self._runner(edge)
        if not found and not runner:
            self.inboxes.read(edge)
        inspection = inspected(found, edge) if found else None
        if inspection and not force:
            if inspection.newer:
                raise Conflict(
                    f"A newer version of cloudedge wrote the inbox of the edge {edge}, so its open orders are not known here: "
                    "use that version of cloudedge, or remove it all the same with --force."
                )
            if inspection.inbox is None:
                raise Conflict(
                    f"The inbox of the edge {edge} cannot be read, so its open orders are not known: {inspection.fault}. "
                    "Enroll the edge again, which gives it an empty one, or remove it all the same with --force."
                )
            orders = inspection.inbox.orders
            if orders:
                raise Conflict(
                    f"The edge {edge} has {len(orders)} open orders, {orders[0].id} among them: cancel their tasks, "
                    "or remove it all the same with --force; its runs then wait for it in vain until their deadline."
                )
        for kind, delete, name in (
            ("ConfigMap", self._core.delete_namespaced_config_map, inbox_name(edge)),
            ("Deployment", self._apps.delete_namespaced_deployment, runner_name(edge)),
        ):
            try:
                self._asked(f"delete {kind} {name}", delete, name, self._namespace.name)
            except NotFound:
                continue  # An earlier try came this far.

    def _config_map(self, edge: str) -> Any:
        """The edge's, whatever is in it; none if there is none."""
        name = inbox_name(checked_name(edge, "an edge"))
        return self._if_there(f"read ConfigMap {name}", self._core.read_namespaced_config_map, name)

    def _runner(self, edge: str) -> Any:
        """Its Deployment; none if there is none."""
        name = runner_name(edge)
        return self._if_there(f"read Deployment {name}", self._apps.read_namespaced_deployment, name)

    def _if_there(self, purpose: str, read: Any, name: str) -> Any:
        try:
            return self._asked(purpose, read, name, self._namespace.name)
        except NotFound:
            return None

    def _put_runner(self, edge: str, body: Any, **options: Any) -> None:
        name = runner_name(edge)
        make, replace = self._apps.create_namespaced_deployment, self._apps.replace_namespaced_deployment
        try:
            self._asked(f"make Deployment {name}", make, self._namespace.name, body, **options)
        except Conflict:
            self._asked(f"change Deployment {name}", replace, name, self._namespace.name, body, **options)

    def _put_inbox(self, edge: str, inspection: Inspection | None, **options: Any) -> None:
        name, namespace = inbox_name(edge), self._namespace.name
        make, change = self._core.create_namespaced_config_map, self._core.patch_namespaced_config_map
        try:
            if inspection is None:
                self._asked(f"make ConfigMap {name}", make, namespace, empty_inbox(edge, namespace), **options)
            elif inspection.patch:
                self._asked(f"change ConfigMap {name}", change, name, namespace, inspection.patch, **options)
        except Conflict:
            found = self._config_map(edge)  # Somebody else did it, or the answer to an earlier try was lost.
            if not found or inspected(found, edge).patch:
                raise

    def _tried(self, put: Any, *arguments: Any) -> None:
        """Ask whether the cluster would do it, and have nothing done."""
        try:
            put(*arguments, dry_run="All")
        except InvalidInput as error:
            if _NOT_TRIED not in str(error):
                raise

    def _restore_runner(self, edge: str, former: Any, error: CloudedgeError) -> None:
        """Have the runner again as it was.

        Raises:
            CloudedgeError: that was not possible; says of both what happened.
        """
        name = runner_name(edge)
        try:
            if former is None:
                self._asked(f"delete Deployment {name}", self._apps.delete_namespaced_deployment, name, self._namespace.name)
            else:
                former.metadata.resource_version = None
                self._put_runner(edge, former)
        except CloudedgeError as another:
            raise type(error)(
                f"{error} Its runner stays changed: {another} Then enroll the edge again, or remove it."
            ) from None

    def _by_edge(self, listing: Any) -> dict[str, Any]:
        """The newest object of each edge: a pod on a node that is away may stay for long after it was deleted."""
        items = sorted(listing.items, key=lambda item: item.metadata.creation_timestamp)
        return {item.metadata.labels[EDGE_LABEL]: item for item in items if EDGE_LABEL in item.metadata.labels}

    def _asked(self, purpose: str, ask: Any, *arguments: Any, **options: Any) -> Any:
        return self._namespace.asked(purpose, ask, *arguments, **options)


def _edge(inbox: Inbox | UnusableInbox, last_order: str, found: Any, pod: Any, nodes: dict[str, Any]) -> Edge:
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
        orders=tuple(order.id for order in inbox.orders) if isinstance(inbox, Inbox) else (),
        last_order=last_order,
        inbox_fault=inbox.reason if isinstance(inbox, UnusableInbox) else "",
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
