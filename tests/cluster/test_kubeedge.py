"""Runs whose edges are KubeEdge nodes: the image that users get, the real mounts, links that are cut."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.cluster.api import Namespace
from cloud.inboxes.config_maps import ConfigMapInboxes
from cloud.runs.run import Run
from tests.cloud.inboxes.conformance import adding
from tests.cloud.runs.builders import order
from tests.cloud.tracking.server import MlflowServer
from tests.cluster.edge_tier import SYNC, EdgeSite, EdgeTier
from tests.cluster.site import NAMESPACE
from tests.digits import EDGES, digits_task
from tests.e2e.conftest import Finished
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAME = EDGES[0]
"""The edge of the tests that need but one."""


def delivered(run: Run, edge: str) -> bool:
    """Whether an edge's result of the first round is there."""
    asked = run.order("1", edge)
    return asked is not None and run.store.stat(run.manifest_key(asked)) is not None


def test_a_run_on_kubeedge_nodes_gives_the_laptops_bytes(
    edge_tier: EdgeTier, flat: Finished, samples: Path, tmp_path: Path
) -> None:
    site = EdgeSite(tmp_path, edge_tier)
    task = digits_task()
    with site.edges(samples, EDGES):
        site.put_samples(samples)
        site.finish(site.pipeline(task, compact=False))
    site.assert_bytes_of(flat)


def test_a_run_outlives_what_happens_to_edges_and_servers(
    edge_tier: EdgeTier, flat: Finished, samples: Path, tmp_path: Path
) -> None:
    mlflow = MlflowServer(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    mlflow.start()
    try:
        site = EdgeSite(tmp_path, edge_tier, mlflow.uri)
        task = digits_task()
        first, second = site.nodes
        with site.edges(samples, EDGES):
            site.put_samples(samples)
            pipeline = site.pipeline(task, compact=True)
            run = site.run(task)
            site.until(lambda: run.order("1", EDGES[0]), pipeline, "the first order")
            first.cut()
            second.kill_edgecore()
            mlflow.kill()
            edge_tier.minio.kill()
            edge_tier.control_plane.kill_api_server()
            edge_tier.minio.start()
            edge_tier.control_plane.start_api_server()
            mlflow.start()
            site.until(lambda: delivered(run, EDGES[1]), pipeline, "a result")
            first.heal()
            site.until(lambda: run.order("2", EDGES[1]), pipeline, "the second round")
            second.power_off()
            second.start()
            edge_tier.cloud.kill()
            edge_tier.cloud.start()
            site.finish(pipeline)
    finally:
        mlflow.kill()
    site.assert_bytes_of(flat)


@pytest.fixture(scope="module")
def site(edge_tier: EdgeTier, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeSite]:
    """A site with one edge, whose node does not look by itself at what has changed."""
    site = EdgeSite(tmp_path_factory.mktemp("site"), edge_tier)
    node = site.node_of(NAME)
    node.look_every("24h")
    node.kill_edgecore()
    try:
        with site.edges(samples, (NAME,)):
            yield site
    finally:
        node.look_every(SYNC)
        node.kill_edgecore()


def test_a_runners_pod_asks_the_cluster_in_vain(edge_tier: EdgeTier, site: EdgeSite) -> None:
    for path in ("/api/v1/secrets", f"/api/v1/namespaces/{NAMESPACE}/configmaps", "/api/v1/nodes"):
        answer = site.inside(NAME, "python3", "-c", _ASK, edge_tier.control_plane.url + path)
        assert answer.split() == ["403"], path
    told = site.inside(NAME, "sh", "-c", "ls /var/run/secrets 2>&1; id -u; touch /usr/here 2>&1; env")
    assert "10001" in told
    assert "Read-only file system" in told
    assert "serviceaccount" not in told
    assert "AWS_" not in told


def test_a_nudge_brings_what_the_node_would_not_look_for(site: EdgeSite) -> None:
    send(site, "one")
    send(site, "two")


def test_after_a_restart_of_edgecore_the_runner_comes_back_with_a_live_inbox(site: EdgeSite) -> None:
    send(site, "before")
    restarts = listed(site)["restarts"]
    assert isinstance(restarts, int)
    site.node_of(NAME).kill_edgecore()
    send(site, "after")
    # It lives on where edgecore has read which pods are its own before it takes away the mounts of others.
    died = site.log(NAME).count("the inbox has died")
    until(lambda: listed(site)["restarts"] == restarts + died, what="the restart, as the cloud sees it")
    assert [site.log(NAME).count(f"{run}.1.{NAME}.1 accepted: train") for run in ("before", "after")] == [1, 1]


def test_an_order_sent_while_a_node_was_away_is_brought_by_another_nudge(
    edge_tier: EdgeTier, site: EdgeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = site.node_of(NAME)
    account = edge_tier.control_plane.account("cloudedge", "cloudedge-pipeline")
    inboxes = ConfigMapInboxes(Namespace(NAMESPACE, edge_tier.control_plane.client(account), 30))
    send(site, "here")
    node.cut()
    with monkeypatch.context() as lost:
        lost.setattr(inboxes, "_nudge", lambda _: None)
        inboxes.update(NAME, adding(order("away", NAME)))

    # What the node confirms must do: nobody would wait for the next nudge of all.
    monkeypatch.setattr("cloud.inboxes.nudging.FIRST_PAUSE_SECONDS", 3600.0)
    with inboxes.nudging((NAME,), lambda _: accepted(site, "away")):
        time.sleep(10)  # Longer than it takes to notice that the link is down.
        assert not accepted(site, "away")
        node.heal()
        until(lambda: accepted(site, "away"), what="the order that was sent while the node was away")


def test_nothing_of_the_clouds_is_put_on_an_edge_node(edge_tier: EdgeTier, tmp_path: Path) -> None:
    site = EdgeSite(tmp_path, edge_tier)
    site.kubectl("create", "job", "tried", "-n", "cloudedge", "--from=cronjob/cloudedge-reaper")
    where = ("get", "pods", "-n", "cloudedge", "-l", "job-name=tried", "-o", "json")

    def kept_off() -> bool:
        """Whether the pod is in the cloud, or waits for a node there; a node that was away just now has a taint for a while."""
        pods = json.loads(site.kubectl(*where))["items"]
        assert {pod["spec"].get("nodeName", "cloud") for pod in pods} <= {"cloud"}
        told = [each.get("message", "") for pod in pods for each in pod["status"].get("conditions", ())]
        return any("nodeName" in pod["spec"] for pod in pods) or any(_NO_NODE in each for each in told)

    try:
        until(kept_off, what="a word of the scheduler on nodes that would take it")
    finally:
        site.kubectl("delete", "job", "tried", "-n", "cloudedge")


_NO_NODE = "2 node(s) didn't match Pod's node affinity/selector"
_ASK = """
import ssl, sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], context=ssl._create_unverified_context(), timeout=20)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def send(site: EdgeSite, run: str) -> None:
    """Put an order into the edge's inbox, and wait until its runner has accepted it."""
    inboxes = ConfigMapInboxes(Namespace(NAMESPACE, site.control_plane.client(), 30))
    inboxes.update(NAME, adding(order(run, NAME)))
    until(lambda: accepted(site, run), 180, f"the order of {run}")


def accepted(site: EdgeSite, run: str) -> bool:
    """Whether the runner has accepted a run's order."""
    return f"{run}.1.{NAME}.1 accepted" in site.log(NAME)


def listed(site: EdgeSite) -> dict[str, object]:
    (row,) = [row for row in json.loads(site.cli("edges", "list", "--json")) if row["edge"] == NAME]
    return dict(row)
