"""What a round costs with many edges, against a real Kubernetes API server and a real MinIO.

    python -m benchmarks.scale [--edges 100 1000] --out FILE.json

Needs `make cluster-tools`. Real: the API server, the ConfigMaps, the runners' pods as the API server knows them, which
dispatch nudges, the store, presigned URLs, the documents, and the code of dispatch and wait. Simulated: the runners, which here
only read their order and put a report, a model of 4 KiB and a manifest by its URLs; no node runs their pods. The same
processors carry the servers and the simulated runners.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client

from benchmarks.tables import say, write
from cloud.cluster.api import Namespace
from cloud.fleet.enrolment import runner_name
from cloud.image import EDGE_IMAGE
from cloud.inboxes.config_maps import ConfigMapInboxes, labels_of
from cloud.orders.dispatch import Participants, dispatch
from cloud.orders.issue import Assignment, StoredFile
from cloud.orders.watch import OrderWatch
from cloud.runs.run import Run
from cloud.settings import Settings
from cloud.step import Step
from cloud.stores import open_store
from cloudedge.documents import Collaboration, Manifest, OutputFile, Phase, Report, Scores, Train, Trained, TrainingTask
from cloudedge.transport import Transport
from pipelines.collaborative_training.demo.digits import DATA
from tests.cluster.control_plane import ControlPlane
from tests.cluster.object_store import MinioServer
from tests.waiting import until

MODEL = b"m" * 4096


def main() -> int:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description="Measure a round of many edges.")
    parser.add_argument("--edges", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudedge-bench-") as folder:
        plane, minio = ControlPlane(Path(folder) / "control-plane"), MinioServer(Path(folder) / "minio")
        try:
            plane.start()
            minio.start()
            figures = {str(edges): measure(plane, minio, edges, Path(folder)) for edges in options.edges}
        finally:
            minio.stop()
            plane.stop()
    names = list(next(iter(figures.values())))
    rows = [("", *figures), *((name, *(f"{figures[edges][name]:.4g}" for edges in figures)) for name in names)]
    say("One round, by number of edges", rows)
    write(options.out, figures)
    return 0


def measure(plane: ControlPlane, minio: MinioServer, edges: int, folder: Path) -> dict[str, float]:
    """All figures of one number of edges."""
    os.environ.update(minio.root.environment)
    store = open_store(f"{minio.url}/{minio.bucket()}", for_edges="", scratch=folder / "scratch", patience_seconds=30)
    namespace = plane.namespace()
    inboxes = Nudged(Namespace(namespace, plane.client(), 30))
    settings = Settings(store="file:///unused", inboxes="file:///unused", scratch=folder / "scratch")
    run = Run(store, "scale")
    work = Step("benchmark", settings, store, inboxes, run)
    names = tuple(f"edge-{number:05d}" for number in range(edges))
    with ThreadPoolExecutor(16) as others:
        enrolled = timed(lambda: list(others.map(inboxes.enroll, names)))
    core = client.CoreV1Api(plane.client())
    until(lambda: core.list_namespaced_service_account(namespace).items, what="the account of pods")
    with ThreadPoolExecutor(16) as others:
        for _ in others.map(lambda name: core.create_namespaced_pod(namespace, pod(name)), names):
            pass  # None is kept, as they would count as memory of dispatch.
    task = TrainingTask(name="Scale", id="scale", data=DATA, collaboration=Collaboration(edges=names, rounds=1))
    run.create(task)
    base = StoredFile("base.safetensors", sha256="0" * 64, size=len(MODEL))
    asked = Assignment("1", Train(model=task.model, data=DATA), {"base": base}, {"model": 10**6}, 3600)
    requests = Requests()
    dispatched = timed(lambda: dispatch(work, asked, Participants(names)))
    requested = requests.count()
    watches: list[OrderWatch] = []
    opened = timed(lambda: watches.append(OrderWatch.of(run, "1")))
    (watch,) = watches
    with watch.told():
        until(lambda: looked(watch, 1)[1] == 0, what="being told by the store")
        silent = looked(watch, 50)
        again, longest = nudged_again(inboxes, watch, settings.poll_seconds)
        with ThreadPoolExecutor(8) as others:
            delivered = timed(lambda: list(others.map(lambda name: answer(run, name), names)))
        changed = timed(lambda: until(lambda: watch.look() and not watch.pending, 600))
        until(lambda: not watch.look())
        unchanged = looked(watch, 50)
    listed = looked(watch, 3)
    assert watch.delivered == set(names)
    return {
        "enrolment (ConfigMaps), s": enrolled,
        "dispatch, s": dispatched,
        "dispatch, ms per edge": dispatched * 1000 / edges,
        "dispatch, requests per edge": requested / edges,
        "wait: opening the round, s": opened,
        "wait: a poll when nobody has answered, ms": silent[0] * 1000,
        "wait: requests of that poll": silent[1],
        "wait: nudging all who have not accepted, s": again,
        "wait: the longest poll meanwhile, ms": longest * 1000,
        "wait: the polls that read all answers, s": changed,
        "wait: a poll when nothing has changed, ms": unchanged[0] * 1000,
        "wait: requests of that poll, all answered": unchanged[1],
        "wait: the same poll where the store does not tell, ms": listed[0] * 1000,
        "wait: requests of that poll, not told": listed[1],
        "all simulated answers, s": delivered,
        "largest resident memory so far, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


class Nudged(ConfigMapInboxes):
    """Knows when it nudged."""

    def __init__(self, namespace: Namespace) -> None:
        """See `ConfigMapInboxes`."""
        super().__init__(namespace)
        self.times: list[float] = []

    def _nudge(self, edge: str) -> None:
        super()._nudge(edge)
        self.times.append(time.monotonic())


def nudged_again(inboxes: Nudged, watch: OrderWatch, pause: float) -> tuple[float, float]:
    """Seconds in which all are nudged again while they are waited for, as none has accepted; and of the longest look then."""
    inboxes.times.clear()
    looks = []
    with inboxes.nudging(watch.edges, watch.accepted):
        while len(inboxes.times) < len(watch.edges):
            looks.append(timed(watch.look))
            time.sleep(pause)
    return inboxes.times[-1] - inboxes.times[0], max(looks)


def looked(watch: OrderWatch, times: int) -> tuple[float, float]:
    """Median seconds of a look, and requests of one."""
    requests = Requests()
    seconds = statistics.median(timed(watch.look) for _ in range(times))
    return seconds, requests.count() / times


def pod(edge: str) -> dict[str, Any]:
    """An edge's runner, as dispatch finds it."""
    metadata = {"name": runner_name(edge), "labels": labels_of(edge, "runner")}
    return {"metadata": metadata, "spec": {"containers": [{"name": "runner", "image": EDGE_IMAGE}]}}


def answer(run: Run, edge: str) -> None:
    """What an edge sends for an order that took no work."""
    order = run.order("1", edge)
    assert order is not None
    scores = Scores(accuracy=0.5, recall=0.5, loss=1.0, samples=10)
    transport = Transport()
    report = Report(order=order.id, edge=edge, sequence=1, phase=Phase.DONE, heartbeat_at=datetime.now(UTC), runner_version="0")
    manifest = Manifest(
        order=order.id,
        edge=edge,
        outputs={"model": OutputFile(sha256="0" * 64, size=len(MODEL))},
        result=Trained(base_sha256="0" * 64, samples=10, data_fingerprint="0" * 64, scores={"base": scores, "model": scores}),
        seconds=1,
        runner_version="0",
    )
    transport.put(order.report, report.to_json())
    transport.put(order.outputs["model"], MODEL)
    transport.put(order.manifest, manifest.to_json())


class Requests:
    """Counts what goes over HTTP from now on."""

    def __init__(self) -> None:
        """Begin to count."""
        self._count = 0
        original = urllib3.connectionpool.HTTPConnectionPool.urlopen

        def urlopen(pool: Any, *arguments: Any, **options: Any) -> Any:
            self._count += 1
            return original(pool, *arguments, **options)

        self._original = original
        urllib3.connectionpool.HTTPConnectionPool.urlopen = urlopen  # type: ignore[assignment,method-assign]

    def count(self) -> int:
        """End, and tell."""
        urllib3.connectionpool.HTTPConnectionPool.urlopen = self._original  # type: ignore[method-assign]
        return self._count


def timed(action: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.monotonic()
    action()
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
