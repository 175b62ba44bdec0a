"""Inboxes as ConfigMaps of a real API server."""

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kubernetes import client, utils
from kubernetes.client.exceptions import ApiException

from cloud.cluster.api import Namespace
from cloud.faults import Faults
from cloud.inboxes import Inboxes, UnusableInbox, usable
from cloud.inboxes.config_maps import (
    FILE,
    LAST_ORDER_ANNOTATION,
    NUDGE_ANNOTATION,
    ConfigMapInboxes,
    empty_inbox,
    inbox_name,
    labels_of,
)
from cloud.patience import Patience
from cloud.runs.closing import close_orders
from cloudedge.documents import Inbox
from cloudedge.errors import Conflict, NotFound, StoreFailed
from tests.cloud.inboxes.conformance import InboxConformance, Spoil, adding
from tests.cloud.runs.builders import order
from tests.cluster.control_plane import ControlPlane
from tests.cluster.processes import free_port
from tests.cluster.tools import beside
from tests.waiting import until

OBJECT_SYNCS = ("reliablesyncs.kubeedge.io", "v1alpha1", "objectsyncs")


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    return control_plane.namespace()


@pytest.fixture
def core(control_plane: ControlPlane) -> client.CoreV1Api:
    return client.CoreV1Api(control_plane.client())


@pytest.fixture
def inboxes(control_plane: ControlPlane, namespace: str) -> ConfigMapInboxes:
    return ConfigMapInboxes(Namespace(namespace, control_plane.client(), 30))


class TestConfigMapInboxes(InboxConformance):
    """The suite that every carrier passes."""

    @pytest.fixture
    def inboxes(self, control_plane: ControlPlane, namespace: str) -> Inboxes:
        return ConfigMapInboxes(Namespace(namespace, control_plane.client(), 30))

    @pytest.fixture
    def spoil(self, core: client.CoreV1Api, namespace: str) -> Spoil:
        return lambda edge, text: core.patch_namespaced_config_map(inbox_name(edge), namespace, {"data": {FILE: text}})


def test_an_inbox_is_updated_in_place(inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str) -> None:
    inboxes.enroll("edge-1")
    first = core.read_namespaced_config_map(inbox_name("edge-1"), namespace)
    inbox = inboxes.update("edge-1", adding(order("run", "edge-1")))
    second = core.read_namespaced_config_map(inbox_name("edge-1"), namespace)
    assert first.metadata.uid == second.metadata.uid
    assert second.metadata.labels == labels_of("edge-1", "inbox")
    assert Inbox.model_validate_json(second.data["inbox.json"]) == inbox


def test_what_others_keep_in_the_namespace_is_left_alone(
    inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str
) -> None:
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "other"}, "data": {"a": "b"}})
    inboxes.enroll("edge-1")
    assert inboxes.edges() == ["edge-1"]
    # What somebody added to our ConfigMap stays, too.
    core.patch_namespaced_config_map(inbox_name("edge-1"), namespace, {"metadata": {"annotations": {"theirs": "kept"}}})
    inboxes.update("edge-1", adding(order("run", "edge-1")))
    annotations = core.read_namespaced_config_map(inbox_name("edge-1"), namespace).metadata.annotations
    assert annotations == {"theirs": "kept", LAST_ORDER_ANNOTATION: "run.1.edge-1.1"}


def test_more_edges_than_a_page_holds_are_all_listed(inboxes: ConfigMapInboxes) -> None:
    names = [f"edge-{number:04d}" for number in range(501)]
    with ThreadPoolExecutor(8) as others:
        list(others.map(inboxes.enroll, names))
    assert inboxes.edges() == names
    assert [inbox.edge for inbox in inboxes.all()] == names


def runner_pod(core: client.CoreV1Api, namespace: str, edge: str, name: str) -> None:
    container = {"name": "runner", "image": "unused"}
    pod: dict[str, Any] = {
        "metadata": {"name": name, "labels": labels_of(edge, "runner")},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }
    core.create_namespaced_pod(namespace, pod)


def test_the_last_order_is_known_after_it_was_closed(inboxes: ConfigMapInboxes) -> None:
    inboxes.enroll("edge-1")
    inboxes.enroll("edge-2")
    for number in (1, 2):
        inboxes.update("edge-1", lambda orders, number=number: [order("run", "edge-1", number), *orders])  # type: ignore[misc]
    inboxes.update("edge-1", lambda orders: [])
    assert [(inbox.edge, last) for inbox, last in inboxes.all_with_last_orders()] == [
        ("edge-1", "run.2.edge-1.1"),
        ("edge-2", ""),
    ]


def nudged_at(core: client.CoreV1Api, namespace: str, name: str) -> str:
    annotations = core.read_namespaced_pod(name, namespace).metadata.annotations or {}
    return str(annotations.get(NUDGE_ANNOTATION, ""))


def test_the_runners_pod_is_nudged_after_each_update(
    inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    for edge in ("edge-1", "edge-2"):
        inboxes.enroll(edge)
    inboxes.update("edge-1", adding(order("run", "edge-1")))  # Nobody is there to be nudged.
    runner_pod(core, namespace, "edge-1", "runner-a")
    runner_pod(core, namespace, "edge-2", "runner-b")
    fresh = ConfigMapInboxes(Namespace(namespace, core.api_client, 30))
    seen = [nudged_at(core, namespace, "runner-a")]
    for number in (2, 3):
        fresh.update("edge-1", adding(order("run", "edge-1", number)))
        seen.append(nudged_at(core, namespace, "runner-a"))
    assert seen[0] == ""
    assert seen == sorted(set(seen))  # A node overlooks a value that it has seen.
    assert nudged_at(core, namespace, "runner-b") == ""
    # A pod that was replaced is found by the next nudge but one: the first one finds out.
    core.delete_namespaced_pod("runner-a", namespace, grace_period_seconds=0)
    runner_pod(core, namespace, "edge-1", "runner-c")
    for number in (4, 5):
        fresh.update("edge-1", adding(order("run", "edge-1", number)))
    assert nudged_at(core, namespace, "runner-c") > seen[-1]
    assert caplog.records == []


def test_a_runner_is_nudged_again_until_its_edge_has_accepted(
    inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.inboxes.nudging.FIRST_PAUSE_SECONDS", 0.1)
    runner_pod(core, namespace, "edge-1", "runner-a")
    runner_pod(core, namespace, "edge-2", "runner-b")
    accepted, seen = {"edge-2"}, set[str]()

    def nudged_twice() -> bool:
        seen.add(nudged_at(core, namespace, "runner-a"))
        return len(seen - {""}) == 2

    # There is no KubeEdge that tells what arrives.
    with inboxes.nudging(("edge-1", "edge-2"), accepted.__contains__):
        until(nudged_twice)
    assert nudged_at(core, namespace, "runner-b") == ""


def test_a_runner_is_nudged_when_its_node_confirms_the_inbox(
    own_control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.inboxes.nudging.FIRST_PAUSE_SECONDS", 3600.0)
    api = own_control_plane.client()
    define_object_syncs(api)
    core, namespace = client.CoreV1Api(api), own_control_plane.namespace()
    for edge in ("edge-1", "edge-2", "edge-3"):
        runner_pod(core, namespace, edge, f"runner-of-{edge}")
        confirm(api, namespace, "ConfigMap", inbox_name(edge), 0)
    confirm(api, namespace, "Pod", "runner-of-edge-3", 0)
    versions = itertools.count(1)

    def nudged() -> bool:
        version = next(versions)
        confirm(api, namespace, "ConfigMap", inbox_name("edge-1"), version)
        confirm(api, namespace, "ConfigMap", inbox_name("edge-2"), version)
        confirm(api, namespace, "Pod", "runner-of-edge-3", version)
        return nudged_at(core, namespace, "runner-of-edge-1") != ""

    inboxes = ConfigMapInboxes(Namespace(namespace, api, 30))
    with inboxes.nudging(("edge-1", "edge-2", "edge-3"), lambda edge: edge == "edge-2"):
        until(nudged)
    assert [nudged_at(core, namespace, f"runner-of-{edge}") for edge in ("edge-2", "edge-3")] == ["", ""]


def define_object_syncs(api: client.ApiClient) -> None:
    """Make known what KubeEdge keeps of what its nodes have confirmed."""
    for path in sorted(beside("cloudcore").rglob("*objectsync*.yaml")):
        utils.create_from_yaml(api, str(path))
    objects = client.CustomObjectsApi(api)

    def known() -> bool:
        try:
            return bool(objects.list_namespaced_custom_object(*OBJECT_SYNCS[:2], "default", OBJECT_SYNCS[2]))
        except ApiException:
            return False

    until(known)


def confirm(api: client.ApiClient, namespace: str, kind: str, name: str, version: int) -> None:
    """What cloudcore writes when a node has confirmed an object; with version 0, what it has before."""
    group, release, plural = OBJECT_SYNCS
    objects = client.CustomObjectsApi(api)
    body = {
        "apiVersion": f"{group}/{release}",
        "kind": "ObjectSync",
        "metadata": {"name": f"node.{kind.lower()}.{name}"},
        "spec": {"objectAPIVersion": "v1", "objectKind": kind, "objectName": name},
    }
    if version == 0:
        objects.create_namespaced_custom_object(group, release, namespace, plural, body)
        return
    status = {"status": {"objectResourceVersion": str(version)}}
    where = (group, release, namespace, plural, body["metadata"]["name"])  # type: ignore[index]
    objects.patch_namespaced_custom_object_status(*where, status)


def test_an_api_server_that_is_started_again_was_never_gone(own_control_plane: ControlPlane) -> None:
    namespace = Namespace(own_control_plane.namespace(), own_control_plane.client(), 60)
    inboxes = ConfigMapInboxes(namespace)
    inboxes.enroll("edge-1")
    own_control_plane.kill_api_server()
    with ThreadPoolExecutor() as others:
        updates = [others.submit(inboxes.update, "edge-1", adding(order("run", "edge-1", number))) for number in range(1, 6)]
        listed = others.submit(inboxes.edges)
        own_control_plane.start_api_server()
        assert sorted(update.result().generation for update in updates) == [1, 2, 3, 4, 5]
        assert listed.result() == ["edge-1"]
    assert len(inboxes.read("edge-1").orders) == 5


class Contested:
    """A namespace whose one ConfigMap somebody else always changes first, so many times; time passes only in pauses."""

    name = "edges"
    api = None

    def __init__(self, conflicts: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = conflicts
        self.changes = 0
        self.pauses: list[float] = []
        monkeypatch.setattr("cloud.patience.time", self)

    def patience(self) -> Patience:
        return Patience(30)

    def monotonic(self) -> float:
        return sum(self.pauses)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def metadata(self, kind: str, selector: str = "") -> Iterator[dict[str, Any]]:
        return iter(())

    def asked(self, purpose: str, ask: object, *arguments: object) -> Any:
        if not purpose.startswith("change"):
            empty = empty_inbox("edge-1", "edges")
            metadata = client.V1ObjectMeta(**empty["metadata"], resource_version="1")
            return client.V1ConfigMap(metadata=metadata, data=empty["data"])
        self.changes += 1
        self._left -= 1
        if self._left >= 0:
            raise Conflict(f"It was not possible to {purpose}: 409.")
        return None


def test_who_finds_an_inbox_changed_by_others_pauses_ever_longer_before_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = Contested(5, monkeypatch)
    inbox = ConfigMapInboxes(namespace).update("edge-1", adding(order("run", "edge-1")))  # type: ignore[arg-type]
    assert len(inbox.orders) == 1
    assert len(namespace.pauses) == 5
    assert namespace.pauses[4] > 4 * namespace.pauses[0]


def test_an_inbox_that_others_change_without_end_is_named_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = Contested(math.inf, monkeypatch)
    with pytest.raises(StoreFailed, match="change ConfigMap cloudedge-inbox-edge-1: 409. Others change it again and again"):
        ConfigMapInboxes(namespace).update("edge-1", adding(order("run", "edge-1")))  # type: ignore[arg-type]
    assert namespace.changes < 30


def test_an_api_server_that_stays_away_is_named() -> None:
    settings = client.Configuration(host=f"https://127.0.0.1:{free_port()}")
    settings.retries = False
    namespace = Namespace("anywhere", client.ApiClient(settings), 0.5)
    with pytest.raises(StoreFailed, match="does not answer when asked to read ConfigMap cloudedge-inbox-edge-1"):
        ConfigMapInboxes(namespace).read("edge-1")


def test_a_stranger_is_told_which_right_is_missing(control_plane: ControlPlane, namespace: str) -> None:
    client.CoreV1Api(control_plane.client()).create_namespaced_service_account(namespace, {"metadata": {"name": "nobody"}})
    stranger = ConfigMapInboxes(Namespace(namespace, control_plane.client(control_plane.account(namespace, "nobody")), 30))
    with pytest.raises(StoreFailed, match="403: .*nobody.*cannot list resource.*Give this account the role"):
        stranger.edges()


def test_a_missing_namespace_is_named(control_plane: ControlPlane) -> None:
    with pytest.raises(NotFound, match='namespaces "missing" not found'):
        ConfigMapInboxes(Namespace("missing", control_plane.client(), 30)).enroll("edge-1")


def test_the_way_out_of_an_inbox_that_cannot_be_used_is_named(
    inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str
) -> None:
    inboxes.enroll("edge-1")
    core.patch_namespaced_config_map(inbox_name("edge-1"), namespace, {"data": None, "binaryData": {FILE: "e30="}})
    with pytest.raises(UnusableInbox) as raised:
        inboxes.read("edge-1")
    assert str(raised.value).splitlines() == [
        f"ConfigMap {namespace}/cloudedge-inbox-edge-1 is not a valid inbox:",
        "  - it has no inbox.json",
        "'cloudedge edges enroll edge-1 --node NODE' puts an empty one in its place; "
        "'cloudedge edges remove edge-1 --force' forgets the edge.",
    ]


@pytest.mark.parametrize("label", ["cloudedge.io/edge", "app.kubernetes.io/name"])
@pytest.mark.parametrize("value", [None, "edge-2"])
def test_whose_an_inbox_is_its_name_says_and_no_label(
    inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str, label: str, value: str | None
) -> None:
    for edge in ("edge-1", "edge-2"):
        inboxes.enroll(edge)
    core.patch_namespaced_config_map(inbox_name("edge-1"), namespace, {"metadata": {"labels": {label: value}}})
    inbox = inboxes.update("edge-1", adding(order("run", "edge-1")))
    assert inboxes.edges() == ["edge-1", "edge-2"]
    assert list(inboxes.all()) == [inbox, inboxes.read("edge-2")]


def test_without_the_label_by_which_the_pipelines_account_may_change_it_an_inbox_is_of_no_use(
    inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str
) -> None:
    inboxes.enroll("edge-1")
    core.patch_namespaced_config_map(inbox_name("edge-1"), namespace, {"metadata": {"labels": None}})
    with pytest.raises(UnusableInbox, match="component: found None.*\n.*enroll edge-1 --node NODE' gives it its labels again"):
        inboxes.read("edge-1")
    assert inboxes.edges() == ["edge-1"]


@pytest.mark.parametrize("name", ["stray", "cloudedge-inbox", "cloudedge-inbox-a.b", "copy-of-cloudedge-inbox-edge-1"])
def test_what_only_has_an_inbox_labels_is_named_and_no_edge(
    inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str, name: str
) -> None:
    inboxes.enroll("edge-1")
    copy = empty_inbox("edge-1", namespace)
    copy["metadata"]["name"] = name
    core.create_namespaced_config_map(namespace, copy)
    faults, said = Faults(), list[str]()
    assert [inbox.edge for inbox in usable(inboxes, faults)] == inboxes.edges() == ["edge-1"]
    faults.tell(said.append)
    (told,) = said
    assert told.startswith(f"ConfigMap {namespace}/{name} is not a valid inbox:")
    assert told.endswith(f"kubectl -n {namespace} delete configmap {name}")
    assert faults.error() is None


def test_what_only_has_an_inbox_name_is_named_and_no_edge(
    inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str
) -> None:
    inboxes.enroll("edge-1")
    theirs = {"metadata": {"name": inbox_name("theirs"), "labels": {"app.kubernetes.io/name": "other"}}, "data": {"a": "b"}}
    core.create_namespaced_config_map(namespace, theirs)
    faults, said = Faults(), list[str]()
    assert [inbox.edge for inbox in usable(inboxes, faults)] == inboxes.edges() == ["edge-1"]
    faults.tell(said.append)
    (told,) = said
    assert told.splitlines() == [
        f"ConfigMap {namespace}/cloudedge-inbox-theirs is not a valid inbox:",
        "  - it has an inbox' name, and nothing else of cloudedge's: no label, no annotation, no inbox.json",
        f"Give it another name, or delete it: kubectl -n {namespace} delete configmap cloudedge-inbox-theirs",
    ]
    assert faults.error() is None
    with pytest.raises(UnusableInbox, match="nothing else of cloudedge's"):
        inboxes.update("theirs", adding(order("run", "theirs")))


@pytest.mark.parametrize(
    "left",
    [
        {"metadata": {"labels": None}},
        {"metadata": {"labels": None}, "data": None, "binaryData": {FILE: "e30="}},
        {"metadata": {"labels": None, "annotations": {LAST_ORDER_ANNOTATION: "x"}}, "data": None},
        {"metadata": {"labels": {"app.kubernetes.io/name": None, "app.kubernetes.io/component": None}}, "data": None},
    ],
)
def test_whatever_is_left_of_an_inbox_its_edge_is_one(
    inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str, left: dict[str, Any]
) -> None:
    inboxes.enroll("edge-1")
    core.patch_namespaced_config_map(inbox_name("edge-1"), namespace, left)
    assert inboxes.edges() == [found.edge for found in inboxes.all()] == ["edge-1"]


def test_an_inbox_that_the_cluster_lets_nobody_change_keeps_no_other_from_being_closed(
    inboxes: ConfigMapInboxes, core: client.CoreV1Api, namespace: str
) -> None:
    for edge in ("edge-1", "edge-2", "edge-3"):
        inboxes.enroll(edge)
        inboxes.update(edge, adding(order("run", edge)))
    core.patch_namespaced_config_map(inbox_name("edge-2"), namespace, {"immutable": True})
    faults = Faults()
    assert close_orders(inboxes, "run", faults) == (["run.1.edge-1.1", "run.1.edge-3.1"], False)
    assert "it is immutable, which the API server lets nobody undo" in str(faults.error())
