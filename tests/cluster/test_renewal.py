"""Orders that last longer than the URLs of the store."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from cloud.runs.events import events
from cloud.stores.s3 import S3Store
from components.collaborative_training.pretrain.step import pretrain
from components.dispatch.step import dispatch_step
from components.wait.step import wait_step
from tests.cluster.site import Site
from tests.digits import EDGES, digits_task
from tests.waiting import until

pytestmark = pytest.mark.e2e


def test_orders_whose_urls_have_ended_get_new_ones_from_whoever_waits_for_them(
    site: Site, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in site.environment().items():
        monkeypatch.setenv(name, value)
    # Read from the environment when this process had another one.
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", os.environ["KUBECONFIG"])
    # Else a week.
    monkeypatch.setattr(S3Store, "longest_url_seconds", 6.0)
    task = digits_task("long")
    for edge in EDGES:
        site.cli("edges", "enroll", edge, "--node", f"node-{edge}")
    pretrain(task, str(samples / "cloud"))
    dispatch_step(task.id, "1")
    run = site.run(task)
    former = run.order("1", EDGES[0])
    assert former is not None
    until(lambda: urllib3.request("GET", former.inputs["base"].url).status == 403, what="the end of a URL")

    with ThreadPoolExecutor(1) as cloud:
        waiting = cloud.submit(wait_step, task.id, "1")
        with site.edges(samples, EDGES):
            (results, _) = waiting.result()

    assert results == len(EDGES)
    renewed = run.order("1", EDGES[0])
    assert renewed is not None
    assert (renewed.id, renewed.issued_at) == (former.id, former.issued_at)
    assert "renewed" in {event.action for _, event in events(run.store, run.id)}
    site.cli("tasks", "cancel", task.id)
