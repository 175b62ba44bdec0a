"""`cloudedge edges` against a real API server: who is enrolled, and how they stand."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from unittest.mock import ANY

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cloud.cluster.api import Namespace
from cloud.faults import Faults
from cloud.inboxes.config_maps import EDGE_LABEL, ConfigMapInboxes, inbox_name, labels_of
from cloud.runs.closing import close_orders
from cloud.runs.lifecycle import create
from cloud.runs.run import Run
from cloudedge.documents import Order, Phase, Report, Stream, TrainingTask
from tests.cloud.inboxes.conformance import adding
from tests.cloud.runs.builders import DATA, order
from tests.cluster.site import NAMESPACE, Site
from tests.digits import digits_task
from tests.waiting import until


@pytest.fixture
def edge(site: Site) -> Iterator[str]:
    """An edge that is enrolled for one test, on a node that is ready."""
    core = client.CoreV1Api(site.control_plane.client())
    core.create_node({"metadata": {"name": "gate-node", "labels": {"kubernetes.io/hostname": "gate-node"}}})
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-02T03:04:05Z"}
    core.patch_node_status("gate-node", {"status": {"conditions": [ready]}})
    site.cli("edges", "enroll", "gate", "--node", "gate-node", "--samples", "/var/lib/samples")
    yield "gate"
    site.cli("edges", "remove", "gate", "--force")
    until(lambda: not ended(site, "gate"), what="the end of all its pods")
    core.delete_node("gate-node")


def pods(site: Site, edge: str) -> list[client.V1Pod]:
    core = client.CoreV1Api(site.control_plane.client())
    return list(core.list_namespaced_pod(NAMESPACE, label_selector=f"cloudedge.io/edge={edge}").items)


def ended(site: Site, edge: str) -> list[client.V1Pod]:
    """The edge's pods, which are ended here, as no node is there that would."""
    core, found = client.CoreV1Api(site.control_plane.client()), pods(site, edge)
    for pod in found:
        with suppress(ApiException):
            core.delete_namespaced_pod(pod.metadata.name, NAMESPACE, grace_period_seconds=0)
    return found


def inboxes(site: Site) -> ConfigMapInboxes:
    return ConfigMapInboxes(Namespace(NAMESPACE, site.control_plane.client(), 30))


def listed(site: Site, edge: str) -> dict[str, object]:
    (row,) = [row for row in json.loads(site.cli("edges", "list", "--json")) if row["edge"] == edge]
    return dict(row)


TITLES = "edge node node ready seen runner restarts work last report samples version"


def row_of(site: Site, edge: str) -> str:
    lines = site.cli("edges", "list").splitlines()
    assert " ".join(lines[0].split()) == TITLES
    (line,) = [line for line in lines if line.startswith(f"{edge} ")]
    return " ".join(line.split())


def reported(site: Site, order: Order, phase: Phase, heartbeat_at: datetime) -> None:
    """What its edge says of an order."""
    report = Report(
        order=order.id,
        edge=order.edge,
        sequence=1,
        phase=phase,
        progress=(Stream(name="epochs", done=2, total=5, unit="epochs"),),
        gauges={"samples": 77},
        heartbeat_at=heartbeat_at,
        runner_version="0.1.0",
    )
    run = Run(site.store, order.run)
    run.put(run.report_key(order), report)


def test_the_list_tells_who_is_alive(site: Site, edge: str) -> None:
    until(lambda: listed(site, edge)["why"], what="the scheduler's word on the runner's pod")
    assert listed(site, edge) == {
        "edge": "gate",
        "node": "gate-node",
        "node_ready": True,
        "node_seen": "2026-01-02T03:04:05+00:00",
        "image": "cloudedge/edge:0.2.0",
        "runner": "pending",
        "why": ANY,
        "restarts": 0,
        "orders": [],
        "last_order": "",
        "inbox_fault": "",
        "work": "idle",
        "heartbeat_at": None,
        "samples": None,
        "runner_version": None,
    }
    assert row_of(site, edge) == "gate gate-node yes 2026-01-02 03:04:05 pending 0 idle - - -"


def test_a_runner_that_does_not_start_says_why(site: Site, edge: str) -> None:
    core = client.CoreV1Api(site.control_plane.client())
    until(lambda: "Insufficient" in str(listed(site, edge)["why"]), what="the scheduler's word on a node without room")
    assert "gate: 0/1 nodes are available: " in site.cli("edges", "list")

    core.patch_node_status("gate-node", {"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}})
    until(lambda: listed(site, edge)["why"] == "", what="the runner's place on its node")
    (pod,) = pods(site, edge)
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "cloudedge/edge:0.2.0"'}
    container = {"name": "runner", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": {"waiting": waiting}}
    core.patch_namespaced_pod_status(pod.metadata.name, NAMESPACE, {"status": {"containerStatuses": [container]}})
    shown = site.cli("edges", "show", edge).splitlines()
    assert "runner: ImagePullBackOff" in shown
    assert 'why: Back-off pulling image "cloudedge/edge:0.2.0"' in shown

    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    crashed = {**container, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}, "lastState": ended}
    core.patch_namespaced_pod_status(pod.metadata.name, NAMESPACE, {"status": {"containerStatuses": [crashed]}})
    assert listed(site, edge)["why"] == "back-off; it ended with 137, OOMKilled"


def test_a_runner_gets_a_gpu_where_its_node_has_one(site: Site, edge: str) -> None:
    core = client.CoreV1Api(site.control_plane.client())
    site.cli("edges", "enroll", edge, "--node", "gate-node", "--gpu", "nvidia.com/gpu")
    until(lambda: "Insufficient nvidia.com/gpu" in str(listed(site, edge)["why"]), what="the scheduler's word on no GPU")

    room = {"cpu": "4", "memory": "8Gi", "pods": "10", "nvidia.com/gpu": "1"}
    core.patch_node_status("gate-node", {"status": {"capacity": room, "allocatable": room}})

    def placed() -> list[dict[str, str]]:
        return [pod.spec.containers[0].resources.limits for pod in pods(site, edge) if pod.spec.node_name]

    until(lambda: {"cpu": "2", "memory": "2Gi", "nvidia.com/gpu": "1"} in placed(), what="the runner's place on its node")


def test_a_node_that_nobody_knows_is_named_at_once_and_later(site: Site, edge: str) -> None:
    done = site.command("edges", "enroll", edge, "--node", "nowhere")
    assert (done.code, done.err.splitlines()) == (
        0,
        ["The cluster has no node nowhere yet: the runner starts once it has joined. If the name is wrong, enroll again."],
    )
    assert "The cluster has no node nowhere: join it, or enroll the edge again" in str(listed(site, edge)["why"])
    assert site.command("edges", "enroll", edge, "--node", "gate-node").err == ""


def test_the_list_tells_what_an_edge_does_and_what_it_said_last(site: Site, edge: str) -> None:
    until(lambda: listed(site, edge)["runner"] != "no pod", what="the runner's pod")
    standing = "gate gate-node yes 2026-01-02 03:04:05 pending 0"
    first, second = order("run", edge), order("run", edge, 2)
    inboxes(site).update(edge, adding(first))
    assert row_of(site, edge) == f"{standing} no report yet - - -"

    reported(site, first, Phase.TRAINING, datetime(2026, 1, 2, 4, 5, 6, tzinfo=UTC))
    assert row_of(site, edge) == f"{standing} training, 2 of 5 epochs 2026-01-02 04:05:06 77 0.1.0"

    inboxes(site).update(edge, adding(second))
    assert row_of(site, edge) == f"{standing} no report yet, and 1 more - - -"


def test_an_idle_edge_is_known_by_its_last_order(site: Site, edge: str) -> None:
    mine = order("run", edge)
    inboxes(site).update(edge, adding(mine))
    reported(site, mine, Phase.DONE, datetime(2026, 1, 2, 4, 5, 6, tzinfo=UTC))
    close_orders(inboxes(site), "run", Faults())

    row = listed(site, edge)
    assert (row["orders"], row["last_order"], row["work"]) == ([], mine.id, "idle")
    assert (row["heartbeat_at"], row["samples"], row["runner_version"]) == ("2026-01-02T04:05:06+00:00", 77, "0.1.0")


def test_an_edge_shows_its_orders_and_its_last_words(site: Site, edge: str) -> None:
    mine = order("shown", edge)
    inboxes(site).update(edge, adding(mine))
    assert "phase no report yet" in site.cli("edges", "show", edge)
    reported(site, mine, Phase.TRAINING, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    (shown,) = json.loads(site.cli("edges", "show", edge, "--json"))["orders"]
    assert shown["id"] == mine.id
    assert shown["phase"] == "training"
    assert shown["progress"] == "2 of 5 epochs"
    assert shown["samples"] == 77
    assert shown["heartbeat_at"] == "2026-01-02T03:04:05+00:00"


def test_an_edge_with_open_orders_is_not_removed_by_accident(site: Site, edge: str) -> None:
    inboxes(site).update(edge, adding(order("run", edge)))
    told = site.cli("edges", "remove", edge, code=4)
    assert "has 1 open orders, run.1.gate.1 among them" in told
    assert "--force" in told
    assert edge in site.cli("edges", "list")


def test_to_enroll_again_changes_the_runner_and_not_the_inbox(site: Site, edge: str) -> None:
    inbox = inboxes(site).update(edge, adding(order("run", edge)))
    site.cli("edges", "enroll", edge, "--node", "another", "--memory", "3Gi", "--image", "registry.example/edge:2")
    row = listed(site, edge)
    assert (row["node"], row["node_ready"], row["image"]) == ("another", None, "registry.example/edge:2")
    assert inboxes(site).read(edge) == inbox


def test_what_is_rendered_for_git_is_what_the_cluster_takes(site: Site, edge: str) -> None:
    text = site.cli("edges", "enroll", edge, "--node", "gate-node", "--samples", "/var/lib/samples", "--render")
    (site.folder / "gate.yaml").write_text(text)
    assert [document["kind"] for document in yaml.safe_load_all(text)] == ["ConfigMap", "Deployment"]
    site.kubectl("apply", "-f", str(site.folder / "gate.yaml"))
    assert site.kubectl("diff", "-f", str(site.folder / "gate.yaml")) == ""


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["enroll", "Bad_Name", "--node", "n"], 2, "'Bad_Name' is not a name of an edge"),
        (["enroll", "gate", "--node", "no node"], 2, "'no node' cannot be the node of the edge gate"),
        (["enroll", "gate", "--node", "n", "--state", "relative"], 2, "'relative' cannot be the state of the edge gate"),
        (["enroll", "gate", "--node", "n", "--state", "/a/../b"], 2, "give an absolute path"),
        (["enroll", "gate", "--node", "n", "--memory", "much"], 2, "give a quantity such as 2Gi"),
        (["enroll", "gate", "--node", "n", "--gpu", "one"], 2, "'one' cannot be the GPU of the edge gate"),
        (["show", "missing"], 3, "No edge 'missing' is enrolled"),
        (["remove", "missing"], 3, "No edge 'missing' is enrolled"),
    ],
)
def test_what_cannot_be_is_one_message(site: Site, arguments: list[str], code: int, told: str) -> None:
    said = site.cli("edges", *arguments, code=code)
    assert told in said
    assert "Traceback" not in said


# What the API server refuses, and what somebody changed by hand.


def objects(site: Site, edge: str) -> list[str]:
    """What the cluster holds of an edge."""
    kinds = "configmaps,deployments"
    return site.kubectl("get", kinds, "--namespace", NAMESPACE, "--selector", f"cloudedge.io/edge={edge}", "-o=name").split()


def test_what_the_api_server_refuses_leaves_nothing_of_an_edge(site: Site) -> None:
    told = site.cli("edges", "enroll", "half", "--node", "x" * 100, code=2)
    assert (
        f"make Deployment cloudedge-runner-half in namespace {NAMESPACE} of {site.control_plane.url} (context test): 422"
        in told
    )
    assert "Correct what it names" in told
    assert "cancel" not in told.lower()
    assert objects(site, "half") == []


@pytest.mark.parametrize("resource", ["configmaps", "deployments.apps"])
def test_a_quota_that_an_edge_would_exceed_leaves_nothing_of_it(site: Site, resource: str) -> None:
    core = client.CoreV1Api(site.control_plane.client())
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {f"count/{resource}": "0"}}}
    core.create_namespaced_resource_quota(NAMESPACE, quota)
    try:
        until(lambda: core.read_namespaced_resource_quota("few", NAMESPACE).status.hard, what="the quota's controller")
        told = site.cli("edges", "enroll", "half", "--node", "node", code=5)
    finally:
        core.delete_namespaced_resource_quota("few", NAMESPACE)
    assert "exceeded quota: few" in told
    assert "have the cluster's rule changed" in told
    assert objects(site, "half") == []


BROKEN = {
    "no inbox.json": {"data": {"inbox.json": None}},
    "no JSON": {"data": {"inbox.json": "{"}},
    "another's": {"data": {"inbox.json": '{"edge": "other", "generation": 0}'}},
    "no labels": {"metadata": {"labels": {"cloudedge.io/edge": None, "app.kubernetes.io/component": None}}},
    "other bytes": {"data": {"inbox.json": None}, "binaryData": {"inbox.json": "/w=="}},
}


def broken(site: Site, edge: str, how: str) -> str:
    """Have somebody change an edge's ConfigMap by hand; its uid."""
    core = client.CoreV1Api(site.control_plane.client())
    return str(core.patch_namespaced_config_map(f"cloudedge-inbox-{edge}", NAMESPACE, BROKEN[how]).metadata.uid)


@pytest.mark.parametrize("how", BROKEN)
def test_to_enroll_again_mends_an_inbox_in_place(site: Site, edge: str, how: str) -> None:
    generation = inboxes(site).update(edge, adding(order("run", edge))).generation
    uid = broken(site, edge, how)
    told = site.command("edges", "enroll", edge, "--node", "gate-node")
    assert told.code == 0, told
    lost = how != "no labels"
    assert ("Its inbox could not be read and is empty now" in told.err) == lost
    inbox = inboxes(site).read(edge)
    assert (inbox.edge, len(inbox.orders)) == (edge, 0 if lost else 1)
    assert inbox.generation > generation or not lost
    assert edge in inboxes(site).edges()
    name = f"cloudedge-inbox-{edge}"
    assert client.CoreV1Api(site.control_plane.client()).read_namespaced_config_map(name, NAMESPACE).metadata.uid == uid


@pytest.mark.parametrize("how", BROKEN)
def test_an_edge_whose_inbox_cannot_be_read_is_removed_by_force(site: Site, how: str) -> None:
    site.cli("edges", "enroll", "broken", "--node", "node")
    broken(site, "broken", how)
    if how != "no labels":
        told = site.cli("edges", "remove", "broken", code=4)
        assert "its open orders are not known" in told
        assert "--force" in told
    told = site.cli("edges", "remove", "broken", "--force")
    assert told.startswith(f"The edge broken is removed from namespace {NAMESPACE} of {site.control_plane.url} (context test).")
    assert objects(site, "broken") == []


# Whom and where.


def test_a_namespace_that_is_not_there_is_named_and_none_is_taken_for_empty(site: Site) -> None:
    elsewhere = {"CLOUDEDGE_INBOXES": "configmaps://cloudedge-edgse"}
    for command in (
        ("edges", "list"),
        ("tasks", "reap"),
        ("edges", "show", "gate"),
        ("edges", "enroll", "gate", "--node", "n"),
    ):
        told = site.cli(*command, code=3, environment=elsewhere)
        assert "cloudedge-edgse" in told, command
        assert "There is no namespace" in told


@pytest.mark.parametrize("command", [("list",), ("list", "--json"), ("enroll", "gate", "--node", "n")])
def test_a_namespace_where_cloudedge_is_not_installed_is_named(site: Site, command: tuple[str, ...]) -> None:
    told = site.cli("edges", *command, code=3, environment={"CLOUDEDGE_INBOXES": "configmaps://default"})
    assert told.startswith("No runner can start in namespace default of https://")
    assert "apply the manifests" in told
    assert (
        client.CoreV1Api(site.control_plane.client()).list_namespaced_config_map("default", label_selector=EDGE_LABEL).items
        == []
    )


def test_what_changes_something_says_where(site: Site, edge: str) -> None:
    cluster = {"server": site.control_plane.url, "context": "test", "namespace": NAMESPACE}
    words = f"The edges are those in namespace {NAMESPACE} of {site.control_plane.url} (context test).\n"
    for task_id in ("first", "second"):
        task = digits_task(task_id)
        create(site.run(task), task, "pipeline")
        inboxes(site).update(edge, adding(order(task_id, edge)))
    assert json.loads(site.cli("tasks", "cancel", "first", "--json"))["cluster"] == cluster
    assert site.command("tasks", "cancel", "second").err == words
    assert inboxes(site).read(edge).orders == ()
    assert site.command("tasks", "reap").err == "", "nothing was changed"
    inboxes(site).update(edge, adding(order("first", edge)))
    assert site.command("tasks", "reap").err == words
    done = site.command("tasks", "delete", "first", "second", "--json")
    assert [row["cluster"] for row in done.json] == [cluster, cluster]
    assert done.err == words


@pytest.mark.parametrize("user", [{"token": "expired"}, {"tokenFile": "token"}, {}])
def test_credentials_that_the_api_server_does_not_know_are_told_of_at_once(site: Site, user: dict[str, str]) -> None:
    (site.folder / "token").write_text("old\n")
    content = json.loads(site.control_plane.kubeconfig.read_text())
    content["users"][0]["user"] = user
    path = site.folder / "stranger"
    path.write_text(json.dumps(content))
    endless = {"CLOUDEDGE_PATIENCE_SECONDS": "86400"}
    told = site.cli("edges", "list", code=5, environment={"KUBECONFIG": str(path), **endless})
    if user:
        assert f"401: Unauthorized. Renew the credentials of the user admin of the context test in {path}." in told
    else:
        assert 'User "system:anonymous" cannot list resource "configmaps"' in told


def test_the_role_that_is_named_helps(site: Site) -> None:
    """Who is given what each message asks for can do it in the end."""
    control_plane = site.control_plane
    account = {"metadata": {"name": "newcomer"}}
    client.CoreV1Api(control_plane.client()).create_namespaced_service_account("cloudedge", account)
    environment = {"KUBECONFIG": str(control_plane.account("cloudedge", "newcomer"))}
    who = "--serviceaccount=cloudedge:newcomer"
    given = []
    while (done := site.command("edges", "list", environment=environment)).code:
        assert done.code == 5, done
        (role,) = re.findall(r"Give this account the (?:cluster )?role '([a-z-]+)'", done.err)
        assert role not in given, "it does not help"
        given.append(role)
        if "cluster role" in done.err:
            site.kubectl("create", "clusterrolebinding", "newcomer", f"--clusterrole={role}", who)
        else:
            site.kubectl("create", "rolebinding", f"newcomer-{role}", f"--role={role}", who, "--namespace", NAMESPACE)
    assert given == ["cloudedge-enrolment", "cloudedge-nodes"]
    site.cli("edges", "enroll", "mine", "--node", "node", environment=environment)
    site.cli("edges", "remove", "mine", environment=environment)


@pytest.fixture
def edited(site: Site) -> Iterator[str]:
    """Another edge, with an order, whose inbox somebody has edited."""
    core = client.CoreV1Api(site.control_plane.client())
    site.cli("edges", "enroll", "edited", "--node", "gate-node")
    inboxes(site).update("edited", adding(order("run", "edited")))
    core.patch_namespaced_config_map(inbox_name("edited"), NAMESPACE, {"data": {"inbox.json": '{"edge": "edited"'}})
    yield "edited"
    core.delete_namespaced_config_map(inbox_name("edited"), NAMESPACE)
    client.AppsV1Api(core.api_client).delete_namespaced_deployment("cloudedge-runner-edited", NAMESPACE)
    until(lambda: not ended(site, "edited"), what="the end of all its pods")


WAY_OUT = (
    "'cloudedge edges enroll edited --node NODE' puts an empty one in its place; "
    "'cloudedge edges remove edited --force' forgets the edge."
)


def test_an_edge_whose_inbox_somebody_edited_is_shown_as_such_and_so_are_the_others(site: Site, edge: str, edited: str) -> None:
    inboxes(site).update(edge, adding(order("listed", edge)))
    done = site.command("edges", "list")
    assert (done.code, done.err) == (0, "")
    assert "no report yet" in next(line for line in done.out.splitlines() if line.startswith("gate "))
    assert "inbox unusable" in next(line for line in done.out.splitlines() if line.startswith("edited "))
    assert "edited: its inbox cannot be used: it is not JSON: " in done.out
    assert WAY_OUT in done.out
    row = listed(site, edited)
    assert (row["orders"], row["last_order"], row["work"]) == ([], "run.1.edited.1", "inbox unusable")
    assert WAY_OUT in str(row["inbox_fault"])
    assert listed(site, edge)["inbox_fault"] == ""

    assert "order: id listed.1.gate.1, kind train" in site.cli("edges", "show", edge)
    shown = site.cli("edges", "show", edited)
    assert "generation: -" in shown
    assert WAY_OUT in shown


def test_whoever_ends_runs_does_so_for_all_edges_but_the_one_whose_inbox_somebody_edited(
    site: Site, edge: str, edited: str
) -> None:
    Run(site.store, "run").create(TrainingTask(name="run", id="run", data=DATA))
    for run in ("run", "nobody-knows"):
        inboxes(site).update(edge, adding(order(run, edge)))

    cancelled = site.command("tasks", "cancel", "run")
    reaped = site.command("tasks", "reap")

    assert (cancelled.code, cancelled.out) == (2, "Run run is cancelled.\n")
    assert (reaped.code, reaped.out) == (2, "nobody-knows: 1 orders closed.\n")
    assert cancelled.err == reaped.err
    where = f"The edges are those in namespace {NAMESPACE} of {site.control_plane.url} (context test).\n"
    fault = f"ConfigMap {NAMESPACE}/cloudedge-inbox-edited is not a valid inbox:\n  - it is not JSON: "
    assert cancelled.err.startswith(where + fault)
    assert cancelled.err.endswith(f"\n{WAY_OUT}\n")
    assert inboxes(site).read(edge).orders == ()


def test_a_config_map_that_only_has_our_labels_is_named_and_changes_nothing(site: Site, edge: str) -> None:
    core = client.CoreV1Api(site.control_plane.client())
    stray = {"metadata": {"name": "stray", "labels": labels_of(edge, "inbox")}, "data": {"inbox.json": "{}"}}
    before = {row["edge"]: row for row in site.command("edges", "list", "--json").json}
    core.create_namespaced_config_map(NAMESPACE, stray)
    try:
        done = site.command("edges", "list", "--json")
        reaped = site.command("tasks", "reap")
    finally:
        core.delete_namespaced_config_map("stray", NAMESPACE)
    assert (done.code, reaped.code) == (0, 0)
    assert done.err == reaped.err
    assert f"ConfigMap {NAMESPACE}/stray is not a valid inbox:" in done.err
    assert f"kubectl -n {NAMESPACE} delete configmap stray" in done.err
    after = {row["edge"]: row for row in done.json}
    assert after.keys() == before.keys()
    assert {**before[edge], "why": ANY, "runner": ANY} == after[edge]


def test_an_inbox_that_lost_its_labels_is_still_its_edges(site: Site, edge: str) -> None:
    """Only the pipeline's account may not change it then, so that is said, with what gives it its labels again."""
    core = client.CoreV1Api(site.control_plane.client())
    core.patch_namespaced_config_map(inbox_name(edge), NAMESPACE, {"metadata": {"labels": None}})
    row = listed(site, edge)
    assert "label app.kubernetes.io/component: found None" in str(row["inbox_fault"])
    assert "'cloudedge edges enroll gate --node NODE' gives it its labels again; its orders stay." in str(row["inbox_fault"])
    core.patch_namespaced_config_map(inbox_name(edge), NAMESPACE, {"metadata": {"labels": labels_of(edge, "inbox")}})
    assert listed(site, edge)["inbox_fault"] == ""
