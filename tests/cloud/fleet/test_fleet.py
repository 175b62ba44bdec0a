"""Enrolling and removing edges, with an API server that may refuse at any moment: an edge is there whole, or not at all."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from cloud.cluster.api import Namespace
from cloud.cluster.kubeconfig import connect
from cloud.fleet.enrolment import RunnerSpec
from cloud.fleet.fleet import Fleet
from cloud.fleet.mending import inspected
from cloud.inboxes import UnusableInbox
from cloud.inboxes.config_maps import FILE, LAST_ORDER_ANNOTATION, labels_of
from cloudedge.documents import Inbox
from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, NotFound
from tests.answers import Answer, Asked, answering, status
from tests.cloud.cluster.kubeconfigs import written
from tests.cloud.inboxes.conformance import newer_inboxes
from tests.cloud.runs.builders import order

MAP, RUNNER = "configmaps/cloudedge-inbox-hall", "deployments/cloudedge-runner-hall"
WHOLE = {MAP, RUNNER}


class Cluster:
    """An API server that keeps ConfigMaps and Deployments by kind and name.

    Attributes:
        objects: What is there.
        refusals: Answers to the next writes in the place of their being done; none: it is done.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.refusals: list[Answer | None] = []

    def answer(self, asked: Asked) -> Answer:
        path, _, query = asked.path.partition("?")
        *_, kind, name = path.split("/") if asked.verb != "POST" else (*path.split("/"), "")
        if path == "/readyz":
            return Answer(200, "ok")
        if kind == "serviceaccounts":
            return Answer(200, '{"kind": "ServiceAccount"}')
        if asked.verb != "GET":
            refusal = self.refusals.pop(0) if self.refusals else None
            if refusal:
                return refusal
        name = name or json.loads(asked.body)["metadata"]["name"]
        return self._done(asked, f"{kind}/{name}", "dryRun=All" in query)

    def _done(self, asked: Asked, key: str, trial: bool) -> Answer:
        there = self.objects.get(key)
        if asked.verb == "POST" and there:
            return status(409, f"{key} already exists")
        if asked.verb != "POST" and not there:
            return status(404, f"{key} not found")
        made = dict(there or {})
        if asked.verb in ("POST", "PUT"):
            made = json.loads(asked.body)
        elif asked.verb == "PATCH":
            made = {**made, "data": json.loads(asked.body).get("data", made.get("data"))}
        if asked.verb == "DELETE" and not trial:
            del self.objects[key]
        elif asked.verb != "GET" and not trial:
            self.objects[key] = made
        kind = "ConfigMap" if key.startswith("configmaps") else "Deployment"
        return Answer(200, json.dumps({**made, "kind": kind}))

    def image(self) -> str:
        """Of the edge's runner."""
        (container,) = self.objects[RUNNER]["spec"]["template"]["spec"]["containers"]
        return str(container["image"])


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def fleet(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    with answering(cluster.answer) as server:
        monkeypatch.setenv("KUBECONFIG", str(written(tmp_path / "config", cluster={"server": server.url})))
        yield Fleet(Namespace("edges", connect(), 0.2))


def runner(image: str = "cloudedge/edge:1") -> RunnerSpec:
    return RunnerSpec("hall", "node-1", image)


REFUSALS = [
    status(422, 'Deployment "cloudedge-runner-hall" is invalid: spec: Invalid value'),
    status(403, 'configmaps "cloudedge-inbox-hall" is forbidden: exceeded quota: few'),
    status(403, 'User "jane" cannot create resource "configmaps" in API group ""'),
    status(400, 'admission webhook "images.example" denied the request'),
    status(413, "Request entity too large"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("again", [False, True], ids=["new", "changed"])
def test_whichever_write_is_refused_an_edge_is_as_it_was(fleet: Fleet, cluster: Cluster, refusal: Answer, again: bool) -> None:
    if again:
        fleet.enroll(runner())
    before = json.dumps(cluster.objects, sort_keys=True)
    for write in itertools.count():
        # Whom an API server forbids something asks once more, as it may only just have started.
        cluster.refusals = [*[None] * write, *[refusal] * (2 if refusal.status == 403 else 1)]
        try:
            fleet.enroll(runner("cloudedge/edge:2"))
        except CloudedgeError as error:
            assert json.loads(refusal.text)["message"] in str(error)
            assert json.dumps(cluster.objects, sort_keys=True) == before, f"at write {write}"
        else:
            break
    assert write >= (3 if again else 4), "both were tried, and both were made"
    assert cluster.objects.keys() == WHOLE
    assert cluster.image() == "cloudedge/edge:2"


def test_a_try_that_the_cluster_cannot_make_keeps_nobody_from_enrolling(fleet: Fleet, cluster: Cluster) -> None:
    cluster.refusals = [status(400, 'admission webhook "images.example" does not support dry run')] * 2
    fleet.enroll(runner())
    assert cluster.objects.keys() == WHOLE


def test_an_inbox_comes_last_and_goes_first(fleet: Fleet, cluster: Cluster) -> None:
    silent = Answer(0)
    cluster.refusals = [None, None, None, *[silent] * 50]
    with pytest.raises(CloudedgeError):
        fleet.enroll(runner())
    assert cluster.objects.keys() == {RUNNER}
    cluster.refusals = []
    fleet.enroll(runner())
    assert cluster.objects.keys() == WHOLE

    cluster.refusals = [None, *[silent] * 50]
    with pytest.raises(CloudedgeError):
        fleet.remove("hall")
    assert cluster.objects.keys() == {RUNNER}
    cluster.refusals = []
    fleet.remove("hall")
    assert cluster.objects == {}


def test_what_was_done_though_its_answer_was_lost_is_done(fleet: Fleet, cluster: Cluster) -> None:
    real, lost = cluster._done, []

    def losing(asked: Asked, key: str, trial: bool) -> Answer:
        answer = real(asked, key, trial)
        if asked.verb == "POST" and not trial and key not in lost:
            lost.append(key)
            return Answer(0)
        return answer

    cluster._done = losing  # type: ignore[method-assign]
    fleet.enroll(runner())
    assert set(lost) == cluster.objects.keys() == WHOLE


# An inbox that somebody changed by hand.


def config_map(text: str | None, labels: dict[str, str] | None = None, **said: Any) -> client.V1ConfigMap:
    metadata = client.V1ObjectMeta(
        name="cloudedge-inbox-hall",
        labels=labels_of("hall", "inbox") if labels is None else labels,
        annotations=said.pop("annotations", None),
        resource_version="7",
    )
    return client.V1ConfigMap(metadata=metadata, data=None if text is None else {FILE: text}, **said)


GOOD = Inbox(edge="hall", generation=5, orders=(order("run", "hall"),)).to_json().decode()
FOREIGN = Inbox(edge="other", generation=5_000_000_000).to_json().decode()


@pytest.mark.parametrize(
    ("found", "fault", "mended"),
    [
        (config_map(GOOD), "", None),
        (config_map(GOOD, {}), "", {"labels"}),
        (config_map(GOOD, labels_of("other", "inbox")), "", {"labels"}),
        (config_map(GOOD, labels_of("hall", "runner")), "", {"labels"}),
        (config_map(None), f"it has no {FILE}", {"data"}),
        (config_map(None, {}, annotations={LAST_ORDER_ANNOTATION: "x"}), f"it has no {FILE}", {"data", "labels"}),
        (config_map(None, {}, binary_data={FILE: "/w=="}), f"it has no {FILE}", {"data", "labels", "binaryData"}),
        (config_map(""), "it is not JSON", {"data"}),
        (config_map("{"), "it is not JSON", {"data"}),
        (config_map("[]"), "give an object in braces", {"data"}),
        (config_map("[" * 100_000), "it is not JSON", {"data"}),
        (config_map("{}", {}), "edge: ", {"data", "labels"}),
        (config_map(FOREIGN), "edge: found 'other'; this is the inbox of hall", {"data"}),
    ],
)
def test_what_an_inbox_lacks_is_found_and_mended_in_place(
    found: client.V1ConfigMap, fault: str, mended: set[str] | None
) -> None:
    inspection = inspected(found, "hall")
    assert fault in inspection.fault
    assert (inspection.inbox is None) == bool(fault)
    patch = inspection.patch
    assert (patch is None) == (mended is None)
    if patch:
        assert patch["metadata"]["resourceVersion"] == "7"
        assert ({*patch} - {"metadata"} | {*patch["metadata"]} - {"resourceVersion"}) == mended
    if fault and patch:
        inbox = Inbox.model_validate_json(patch["data"][FILE])
        assert (inbox.edge, inbox.orders) == ("hall", ())
        # Its runner may have followed one of this very second, or, after several changes in one, of a later.
        assert inbox.generation > (5_000_000_000 if "other" in fault else time.time() + 30)


def test_a_config_map_of_somebody_else_is_not_touched(fleet: Fleet, cluster: Cluster) -> None:
    theirs = {"metadata": {"name": "cloudedge-inbox-hall", "labels": {"app.kubernetes.io/name": "theirs"}}, "data": {"a": "b"}}
    cluster.objects[MAP] = dict(theirs)
    attempts: list[Callable[[], Any]] = [
        lambda: fleet.enroll(runner()),
        lambda: fleet.remove("hall"),
        lambda: fleet.remove("hall", force=True),
    ]
    for attempt in attempts:
        with pytest.raises(
            Conflict, match="There is a ConfigMap cloudedge-inbox-hall that is no inbox: .* give the edge another"
        ):
            attempt()
    assert cluster.objects == {MAP: theirs}


@pytest.mark.parametrize("newer", ["a newer version", "an order of a newer version"])
def test_an_inbox_of_a_newer_version_is_not_emptied_and_can_be_removed(fleet: Fleet, cluster: Cluster, newer: str) -> None:
    fleet.enroll(runner())
    newer = newer_inboxes(Inbox.model_validate_json(GOOD))[newer]
    assert inspected(config_map(newer), "hall").newer
    cluster.objects[MAP]["data"] = {FILE: newer}
    with pytest.raises(InvalidInput, match="A newer version of cloudedge wrote the inbox of the edge hall"):
        fleet.enroll(runner())
    assert cluster.objects[MAP]["data"] == {FILE: newer}
    with pytest.raises(Conflict, match="use that version of cloudedge, or remove it all the same with --force"):
        fleet.remove("hall")
    fleet.remove("hall", force=True)
    assert cluster.objects == {}


def test_an_inbox_that_nobody_may_change_is_removed_and_made_anew(fleet: Fleet, cluster: Cluster) -> None:
    fleet.enroll(runner())
    cluster.objects[MAP]["immutable"] = True
    for use in (lambda: fleet.enroll(runner()), lambda: fleet.inboxes.read("hall")):
        with pytest.raises((Conflict, UnusableInbox), match="(?s)it is immutable.*remove hall --force' removes it, and then"):
            use()
    fleet.remove("hall", force=True)
    fleet.enroll(runner())
    assert fleet.inboxes.read("hall").orders == ()


def test_an_inbox_with_an_order_of_a_newer_version_and_another_fault_is_mended() -> None:
    fields = json.loads(newer_inboxes(Inbox.model_validate_json(GOOD))["an order of a newer version"])
    for fault in ({"more": 1}, {"orders": [*fields["orders"], {}]}, {"orders": 1}, {"generation": "x"}, {"edge": "other"}):
        inspection = inspected(config_map(json.dumps({**fields, **fault})), "hall")
        assert not inspection.newer
        assert inspection.patch


def test_an_edge_whose_inbox_cannot_be_read_is_mended_or_removed_by_force(fleet: Fleet, cluster: Cluster) -> None:
    assert fleet.enroll(runner()) == ""
    cluster.objects[MAP]["data"] = {FILE: "{"}
    with pytest.raises(Conflict, match="cannot be read, so its open orders are not known: .*Enroll the edge again, .*--force"):
        fleet.remove("hall")
    assert "it is not JSON" in fleet.enroll(runner())
    assert fleet.inboxes.read("hall").orders == ()
    cluster.objects[MAP]["data"] = {}
    fleet.remove("hall", force=True)
    assert cluster.objects == {}


def test_who_is_not_enrolled_cannot_be_removed(fleet: Fleet, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet.inboxes, "edges", lambda: ["other"])
    with pytest.raises(NotFound, match="No edge 'hall' is enrolled; enrolled are: other"):
        fleet.remove("hall", force=True)
