"""What a round costs with many edges, against a real Kubernetes API server and a real MinIO.

    python -m benchmarks.scale [--edges 100 1000] --out FILE.json

Needs `make cluster-tools`. Real: the API server, the ConfigMaps, the store, presigned URLs, the documents, and the code of
dispatch and wait. Simulated: the runners, which here only read their order and put a report, a model of 4 KiB and a manifest by
its URLs; and their pods, which are not there to be nudged. The same processors carry the servers and the simulated runners.
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

from benchmarks.tables import say, write
from cloudedge.documents import Collaboration, Manifest, Phase, RemoteFile, Report, Scores, Task
from cloudedge.transport import Transport
from components.dispatch.step import dispatch
from components.shared.inboxes.config_maps import ConfigMapInboxes
from components.shared.kubernetes_api import Namespace
from components.shared.run import Run
from components.shared.settings import Settings
from components.shared.step import Step
from components.shared.stores import open_store
from components.wait.watch import RoundWatch
from pipelines.demo.digits import DATA
from tests.cluster.control_plane import ControlPlane
from tests.cluster.object_store import MinioServer

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
    inboxes = ConfigMapInboxes(Namespace(plane.namespace(), plane.client(), 30))
    settings = Settings(store="file:///unused", inboxes="file:///unused", scratch=folder / "scratch")
    run = Run(store, "scale")
    work = Step("benchmark", settings, store, inboxes, run)
    names = tuple(f"edge-{number:05d}" for number in range(edges))
    with ThreadPoolExecutor(16) as others:
        enrolled = timed(lambda: list(others.map(inboxes.enroll, names)))
    task = Task(name="Scale", id="scale", data=DATA, collaboration=Collaboration(edges=names, rounds=1))
    run.create(task)
    base = RemoteFile(url="http://unused", sha256="0" * 64, size=len(MODEL))
    requests = Requests()
    dispatched = timed(lambda: dispatch(work, task, 1, "train", {"base": base}))
    asked = requests.count()
    watch: list[RoundWatch] = []
    opened = timed(lambda: watch.append(RoundWatch.of(run, 1)))
    silent = [timed(watch[0].look) for _ in range(5)]
    with ThreadPoolExecutor(8) as others:
        delivered = timed(lambda: list(others.map(lambda name: answer(run, name), names)))
    changed = timed(watch[0].look)
    requests = Requests()
    unchanged = [timed(watch[0].look) for _ in range(5)]
    listed = requests.count() / 5
    assert all(watched.manifest for watched in watch[0].edges.values())
    return {
        "enrolment (ConfigMaps), s": enrolled,
        "dispatch, s": dispatched,
        "dispatch, ms per edge": dispatched * 1000 / edges,
        "dispatch, requests per edge": asked / edges,
        "wait: opening the round, s": opened,
        "wait: a poll when nobody has answered, s": statistics.median(silent),
        "wait: the poll that reads all answers, s": changed,
        "wait: a poll when nothing has changed, s": statistics.median(unchanged),
        "wait: requests of that poll": listed,
        "all simulated answers, s": delivered,
        "largest resident memory so far, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def answer(run: Run, edge: str) -> None:
    """What an edge sends for an order that took no work."""
    order = run.order(1, edge)
    assert order is not None
    assert order.result is not None
    scores = Scores(accuracy=0.5, recall=0.5, loss=1.0, samples=10)
    transport = Transport()
    report = Report(order=order.id, edge=edge, sequence=1, phase=Phase.DONE, heartbeat_at=datetime.now(UTC), runner_version="0")
    manifest = Manifest(
        order=order.id,
        run=order.run,
        round=1,
        edge=edge,
        attempt=1,
        model_sha256="0" * 64,
        model_size=len(MODEL),
        base_sha256="0" * 64,
        samples=10,
        data_fingerprint="0" * 64,
        scores={"base": scores, "result": scores},
        seconds=1,
        runner_version="0",
    )
    transport.put(order.report, report.to_json())
    transport.put(order.result, MODEL)
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
