"""A whole cloudedge on real servers: MinIO, a Kubernetes API server and MLflow, with the edges' runners on this machine.

Only a node is missing: what its kubelet does with a ConfigMap's mount is done here. The accounts are those of the manifests,
with no right beyond theirs.
"""

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from cloud.inboxes.config_maps import inbox_name
from cloud.runs.run import Run
from cloud.stores import open_store
from cloudedge.documents import Task
from cloudedge.mount import write_mount
from cloudedge.store import Store
from pipelines.laptop.engine import engine_command
from pipelines.laptop.job import Job
from pipelines.systems import system_of
from tests.cluster.control_plane import ControlPlane
from tests.cluster.object_store import MinioServer, User
from tests.cluster.tools import program
from tests.digits import digits_task
from tests.e2e.conftest import Finished
from tests.terminal import Ended, called
from tests.waiting import until, until_either

MANIFESTS = Path(__file__).parents[2] / "manifests"
NAMESPACE = "cloudedge-edges"
PATIENCE = 600.0


class Site:
    """One cluster, its store, and a folder for everything else."""

    def __init__(
        self, folder: Path, control_plane: ControlPlane, minio: MinioServer, tracking_uri: str = "", *, apply: bool = True
    ) -> None:
        """Apply the manifests; make a bucket and the pipeline's user as an administrator does."""
        self.folder = folder
        self.control_plane = control_plane
        self.minio = minio
        if apply:
            self.kubectl("apply", "-k", str(MANIFESTS / "base"))
        self.user = User(f"pipeline-{secrets.token_hex(4)}", secrets.token_hex(20))
        self.address = f"{minio.url}/cloudedge-{secrets.token_hex(4)}"
        self._tracking_uri = tracking_uri
        self._pipelines: list[subprocess.Popen[bytes]] = []
        keys = ("--access-key", self.user.access_key, "--secret-key", self.user.secret_key)
        self.cli("store", "prepare", *keys, environment=minio.root.environment)

    def kubectl(self, *arguments: str) -> str:
        """As the administrator."""
        command = [str(program("kubectl")), "--kubeconfig", str(self.control_plane.kubeconfig), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """What a step, or a person with another kubeconfig, finds the cluster by."""
        account = kubeconfig or self.control_plane.account("cloudedge", "cloudedge-pipeline")
        return {
            **os.environ,
            **self.user.environment,
            "KUBECONFIG": str(account),
            "CLOUDEDGE_STORE": self.address,
            "CLOUDEDGE_INBOXES": f"configmaps://{NAMESPACE}",
            "CLOUDEDGE_SCRATCH": str(self.folder / "scratch"),
            "CLOUDEDGE_TRACKING_URI": self._tracking_uri,
            "CLOUDEDGE_PATIENCE_SECONDS": "300",
        }

    def cli(self, *arguments: str, code: int = 0, environment: Mapping[str, str] | None = None) -> str:
        """What `cloudedge` says to the administrator of the cluster."""
        ended = self.command(*arguments, environment=environment)
        assert ended.code == code, ended
        return ended.err if code else ended.out

    def command(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
        """How `cloudedge` ends for the administrator of the cluster."""
        variables = {**self.environment(self.control_plane.kubeconfig), **(environment or {})}
        return called(*arguments, environment=variables, folder=self.folder)

    @property
    def store(self) -> Store:
        """The store, as the pipeline sees it."""
        for name, value in self.user.environment.items():
            os.environ[name] = value
        return open_store(self.address, for_edges="", scratch=self.folder / "scratch", patience_seconds=60)

    def run(self, task: Task) -> Run:
        """A run in the store."""
        return Run(self.store, task.id)

    def assert_bytes_of(self, laptop: Finished, task_id: str = "digits") -> None:
        """That the run of the same task gave the same models, fused and, where it had the same id, at each edge.

        What an edge sends names the run that it is of.
        """
        run, theirs = self.run(digits_task(task_id)), laptop.laptop.run
        for number in (1, 2):
            ours, undisturbed = run.fusion(number), theirs.fusion(number)
            assert ours is not None
            assert undisturbed is not None
            assert ours.sha256 == undisturbed.sha256
            if run.id == theirs.id:
                assert [each.sha256 for each in ours.contributions] == [each.sha256 for each in undisturbed.contributions]

    @contextmanager
    def edges(self, samples: Path, names: tuple[str, ...]) -> Iterator[None]:
        """Enroll edges, and have their runners at work for as long as the context lasts."""
        over = threading.Event()
        for name in names:
            self.cli("edges", "enroll", name, "--node", f"node-{name}")
        kubelet = threading.Thread(target=self._mount, args=(names, over), name="kubelet")
        kubelet.start()
        workers = self._process("workers", "edge.workers", "--socket", self.folder / "workers.sock")
        runners = [workers, *(self._runner(name, samples) for name in names)]
        try:
            yield
        finally:
            over.set()
            kubelet.join()
            for process in (*runners, *self._pipelines):
                process.kill()
                process.wait()

    def put_samples(self, samples: Path) -> None:
        """Put the cloud's samples into the store, where pipelines find them."""
        for name in ("cloud", "test"):
            self.cli("data", "put", f"digits-{name}", str(samples / name))

    def pipeline(self, task: Task, compact: bool | None = None, test_data: str = "digits-test") -> "subprocess.Popen[bytes]":
        """Start the task's pipeline in kfp's local engine, with the pipeline's account and its user of the store."""
        task_file = self.folder / f"{task.id}.json"
        task_file.write_bytes(task.to_json())
        root = self.folder / "pipeline"
        root.mkdir(exist_ok=True)
        data = system_of(task).arguments("store:digits-cloud", f"store:{test_data}")
        log = self.folder / "pipeline.log"
        job = Job(str(task_file), str(root), compact, data, str(log), self.environment())
        with log.open("ab") as errors:
            process = subprocess.Popen(
                engine_command(system_of(task).modules),
                env=self.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        with cast("IO[bytes]", process.stdin) as jobs:  # The only one: the process ends as it does.
            jobs.write(job.to_line())
        self._pipelines.append(process)
        return process

    def until(self, condition: Callable[[], object], pipeline: "subprocess.Popen[bytes]", what: str) -> None:
        """Wait for a moment of a run; that its pipeline ends before is a failure."""
        assert until_either(condition, lambda: pipeline.poll() is not None, PATIENCE, what), (
            f"the pipeline ended before {what}:\n{(self.folder / 'pipeline.log').read_text()[-4000:]}"
        )

    def finish(self, pipeline: "subprocess.Popen[bytes]") -> None:
        """Wait for a pipeline to end well."""
        until(lambda: pipeline.poll() is not None, PATIENCE, "the end of the pipeline")
        assert pipeline.returncode == 0, (self.folder / "pipeline.log").read_text()[-4000:]

    def _runner(self, name: str, samples: Path) -> "subprocess.Popen[bytes]":
        places = ("--inbox", self.folder / "mounts" / name, "--state", self.folder / "states" / name)
        shared = ("--samples", samples / "edges" / name, "--workers", self.folder / "workers.sock")
        return self._process(name, "edge.runner", *places, *shared)

    def _process(self, name: str, module: str, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", module, *map(str, arguments), "--parent", str(os.getpid())]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _mount(self, names: tuple[str, ...], over: threading.Event) -> None:
        """What kubelet does: a mount follows its ConfigMap, and stays as it is while nobody answers."""
        api = config.new_client_from_config(str(self.control_plane.kubeconfig))
        api.rest_client.pool_manager.connection_pool_kw["retries"] = False
        listed = client.CoreV1Api(api).list_namespaced_config_map
        inboxes = {inbox_name(name): name for name in names}
        seen: dict[str, str] = {}
        while not over.wait(0.05):
            try:
                for event in watch.Watch().stream(listed, NAMESPACE, timeout_seconds=1, _request_timeout=(2, 3)):
                    found = event["object"]
                    name, version = inboxes.get(found.metadata.name), found.metadata.resource_version
                    if name and event["type"] != "DELETED" and seen.get(name) != version:
                        seen[name] = version
                        write_mount(self.folder / "mounts" / name, {key: value.encode() for key, value in found.data.items()})
            except (ApiException, HTTPError, ValueError, KeyError):
                continue
