"""The images at work: as no root, on a read-only file system, with the commands and the mounts of the manifests."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from mlflow import MlflowClient

from cloud.entrypoints.form import form_of
from cloud.fleet.enrolment import USER, RunnerSpec, deployment
from cloudedge import __version__
from cloudedge.documents import Manifest, Trained, TrainingTask, parse
from cloudedge.documents.tasks import SYSTEMS
from cloudedge.errors import InvalidInput
from cloudedge.names import sha256_of
from components.collaborative_training.pretrain.step import pretrain
from pipelines.kubeflow.compile import package_of
from pipelines.systems import system_named
from tests.cluster import images
from tests.cluster.containers import Container, Containerd
from tests.cluster.processes import free_port
from tests.cluster.site import MANIFESTS
from tests.cluster.site import Site as Cluster
from tests.digits import digits_task, write_digits
from tests.docs.pages import ROOT, blocks
from tests.edge.site import Site, write_samples
from tests.http_store import http_store
from tests.waiting import until

pytestmark = pytest.mark.timeout(1200)

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


def own(folder: Path) -> Path:
    """A folder that is the containers' user's."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, USER, USER)
    return folder


def container_of(pod: Any, folders: Mapping[str, Path], environment: Mapping[str, str] | None = None) -> Container:
    """The only container of a pod, with folders in place of its volumes."""
    (found,) = pod["containers"]
    mounts = {
        mount["mountPath"] + ("" if mount.get("readOnly") else ":rw"): folders[mount["name"]]
        for mount in found["volumeMounts"]
        if mount["name"] != "tmp"
    }
    given = {each["name"]: each["value"] for each in found.get("env", ()) if "value" in each}
    return Container(
        f"docker.io/{found['image']}", found["command"], mounts, {**given, **(environment or {})}, host_network=True
    )


def pod_of(file: str, kind: str) -> Any:
    """The pod of the only object of a kind in a manifest."""
    (found,) = (each for each in yaml.safe_load_all((MANIFESTS / file).read_text()) if each["kind"] == kind)
    job = found["spec"].get("jobTemplate", found)
    return job["spec"]["template"]["spec"]


def token(site: Cluster, folder: Path) -> Path:
    """What kubelet mounts into a pod of the pipeline's account."""
    kubeconfig = json.loads(site.control_plane.account("cloudedge", "cloudedge-pipeline").read_text())
    folder.mkdir()
    (folder / "token").write_text(kubeconfig["users"][0]["user"]["token"])
    (folder / "ca.crt").write_bytes(Path(kubeconfig["clusters"][0]["cluster"]["certificate-authority"]).read_bytes())
    return folder


@pytest.mark.parametrize("target", images.TARGETS)
def test_a_container_is_no_root_and_writes_nowhere_but_where_it_may(containerd: Containerd, target: str) -> None:
    touch = "for place in / /opt/cloudedge /opt/pytorch /etc; do touch $place/x 2>&1; done; touch /tmp/x && echo fine"
    code = f"id -u; id -g; echo ~; {touch}"

    uid, gid, home, *refused, fine = containerd.run(Container(images.name(target), ["sh", "-c", code])).stdout.splitlines()

    assert (uid, gid, home, fine) == (str(USER), str(USER), "/tmp", "fine")
    assert len(refused) == 4
    assert all("Read-only file system" in line for line in refused)


def test_both_say_what_they_can_do(containerd: Containerd) -> None:
    edge = containerd.run(Container(images.name("edge"), ["cloudedge-edge", "--help"]))
    cloud = containerd.run(Container(images.name("cloud"), ["cloudedge", "--version"]))

    assert "The runner of an edge, and the site engineer's tools." in edge.stdout
    assert (edge.returncode, cloud.returncode, cloud.stdout) == (0, 0, f"{__version__}\n")


def test_the_clouds_image_has_all_that_the_systems_steps_import(containerd: Containerd) -> None:
    modules = sorted({module for name in SYSTEMS for module in system_named(name).modules})
    mounts = {"/opt/pytorch": images.pytorch()}

    done = containerd.run(Container(images.name("cloud"), ["python", "-c", f"import {', '.join(modules)}"], mounts))

    assert (done.returncode, done.stdout) == (0, "")


def test_the_edges_image_starts_the_runner_when_nothing_else_is_asked(containerd: Containerd, tmp_path: Path) -> None:
    log = tmp_path / "runner.log"
    mounts = {"/inbox": own(tmp_path / "inbox"), "/state:rw": own(tmp_path / "state")}
    runner = containerd.begin(Container(images.name("edge"), mounts=mounts), log)

    until(lambda: "at work in /state" in log.read_text() or runner.poll() is not None, what="the runner's start")
    runner.send_signal(signal.SIGTERM)

    assert runner.wait(60) == 0, log.read_text()


def test_an_enrolled_runner_trains_with_a_pytorch_that_is_mounted(containerd: Containerd, tmp_path: Path) -> None:
    site = Site(tmp_path)
    write_samples(site.samples / "first.jsonl")
    pod = deployment(RunnerSpec("edge-1", "node-1", samples="/var/lib/samples"), "cloudedge-edges")["spec"]["template"]["spec"]
    folders = {"inbox": site.inbox, "state": own(site.state), "samples": site.samples, "pytorch": images.pytorch()}
    pod["containers"][0]["volumeMounts"].append({"name": "pytorch", "mountPath": "/opt/pytorch", "readOnly": True})
    log = tmp_path / "runner.log"
    with http_store() as store:
        site.want(
            site.order(
                inputs={"base": store.holds("/base", Path(urlsplit(site.base().url).path).read_bytes())},
                report=store.target("/report"),
                outputs={"model": store.target("/result", once=True)},
                history=store.target("/history", once=True),
                manifest=store.target("/manifest", once=True),
            )
        )
        runner = containerd.begin(container_of(pod, folders), log)
        until(lambda: "/manifest" in store.objects or runner.poll() is not None, 300, "the result")
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(60) == 0, log.read_text()
        manifest = parse(Manifest, store.objects["/manifest"], "manifest")
        model = tmp_path / "model.safetensors"
        model.write_bytes(store.objects["/result"])
    assert isinstance(manifest.result, Trained)
    assert manifest.result.samples == 30
    assert manifest.outputs["model"].sha256 == sha256_of(model)


def test_a_model_of_ones_own_is_in_an_image_made_upon_ours(containerd: Containerd, tmp_path: Path) -> None:
    for block in blocks(ROOT / "docs" / "own-model.md"):
        if block.title.startswith("my-nets/"):
            file = tmp_path / block.title
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text)
    own_name = "registry.example/mine/edge:1"
    images.build_upon("edge", tmp_path / "my-nets", own_name, tmp_path / "own.tar")
    containerd.load(tmp_path / "own.tar")
    code = "from cloudedge.models.registry import architectures; print(*architectures())"

    known = containerd.run(Container(own_name, ["python", "-c", code], {"/opt/pytorch": images.pytorch()}))
    user = containerd.run(Container(own_name, ["id", "-u"]))

    assert "residual" in known.stdout.split()
    assert user.stdout == f"{USER}\n"


def pretrained(
    containerd: Containerd, task: TrainingTask, folder: Path, most_rounds: int
) -> "tuple[subprocess.CompletedProcess[str], dict[str, Path]]":
    """How the first step of a task's compiled pipeline ends in the cloud's image, and the folders that it wrote into."""
    write_digits(folder / "data")
    places = {name: own(folder / name) for name in ("store", "inboxes", "scratch", "minio")}
    spec = next(yaml.safe_load_all(package_of(task)))["deploymentSpec"]["executors"]["exec-pretrain"]["container"]
    output = {"uri": "minio://pretrained", "name": "pretrained", "type": {"schemaTitle": "system.Model"}}
    metrics = {"uri": "minio://metrics", "name": "pretraining_metrics", "type": {"schemaTitle": "system.Metrics"}}
    data = {"cloud_data": "/data/cloud", "test_data": ""}
    asked = {**form_of(type(task)).values_of(task), **data, "kubeflow_run_id": "a", "most_rounds": most_rounds}
    executor_input = {
        "inputs": {"parameterValues": asked},
        "outputs": {
            "parameters": {"run": {"outputFile": "/scratch/run"}},
            "artifacts": {"pretrained": {"artifacts": [output]}, "pretraining_metrics": {"artifacts": [metrics]}},
            "outputFile": "/scratch/output.json",
        },
    }
    arguments = [json.dumps(executor_input) if argument == "{{$}}" else argument for argument in spec["args"]]
    done = containerd.run(
        Container(
            f"docker.io/{spec['image']}",
            [*spec["command"], *arguments],
            {
                **{f"/{name}:rw": place for name, place in places.items()},
                "/data": folder / "data",
                "/opt/pytorch": images.pytorch(),
            },
            {
                "CLOUDEDGE_STORE": "file:///store",
                "CLOUDEDGE_INBOXES": "file:///inboxes",
                "CLOUDEDGE_SCRATCH": "/scratch",
            },
        )
    )
    return done, places


def test_a_step_of_a_compiled_pipeline_gives_the_bytes_that_it_gives_here(
    containerd: Containerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = digits_task()

    done, places = pretrained(containerd, task, tmp_path, most_rounds=2)

    assert done.returncode == 0, done.stdout
    assert json.loads((places["scratch"] / "output.json").read_text())["parameterValues"] == {"run": task.id}
    monkeypatch.setenv("CLOUDEDGE_STORE", (tmp_path / "own" / "store").as_uri())
    monkeypatch.setenv("CLOUDEDGE_INBOXES", (tmp_path / "own" / "inboxes").as_uri())
    monkeypatch.setenv("CLOUDEDGE_SCRATCH", str(tmp_path / "own" / "scratch"))
    note = json.loads((places["minio"] / "pretrained").read_bytes())
    model = places["store"] / note["model_uri"].removeprefix("file:///store/")
    assert sha256_of(model) == note["sha256"] == pretrain(task, str(tmp_path / "data" / "cloud")).sha256


def test_a_step_that_fails_ends_with_its_message_and_exit_code(containerd: Containerd, tmp_path: Path) -> None:
    done, _ = pretrained(containerd, digits_task(), tmp_path, most_rounds=1)

    assert done.returncode == InvalidInput.exit_code
    assert done.stdout.splitlines()[-1].startswith("Error: rounds is 2, but this pipeline has tasks for 1: ask for fewer")
    assert "Traceback" not in done.stdout


def test_the_clouds_image_prepares_the_store_and_reaps(containerd: Containerd, site: Cluster, tmp_path: Path) -> None:
    keys = {"CLOUDEDGE_USER_ACCESS_KEY": site.user.access_key, "CLOUDEDGE_USER_SECRET_KEY": site.user.secret_key}
    administrator = {**site.minio.root.environment, **keys, "CLOUDEDGE_STORE": site.address}
    prepared = containerd.run(container_of(pod_of("overlays/standalone/prepare.yaml", "Job"), {}, administrator))
    assert prepared.returncode == 0, prepared.stdout
    assert prepared.stdout.endswith(f"The user {site.user.access_key} may use it.\n")

    pod = pod_of("base/reaper.yaml", "CronJob")
    pod["containers"][0]["volumeMounts"].append({"name": "token", "mountPath": TOKEN, "readOnly": True})
    environment = {name: value for name, value in site.environment().items() if name.startswith(("CLOUDEDGE_", "AWS_"))}
    server = urlsplit(site.control_plane.url)
    environment |= {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}
    environment["CLOUDEDGE_SCRATCH"] = pod["containers"][0]["env"][0]["value"]
    reaped = containerd.run(container_of(pod, {"token": token(site, tmp_path / "token")}, environment))
    assert reaped.stdout == "There is nothing to close.\n"


def test_the_clouds_image_is_the_manifests_mlflow(containerd: Containerd, tmp_path: Path) -> None:
    port = free_port()
    pod = pod_of("overlays/standalone/mlflow.yaml", "Deployment")
    (container,) = pod["containers"]
    container["command"] = [word.replace("5000", str(port)) for word in container["command"]]
    log = tmp_path / "mlflow.log"
    server = containerd.begin(container_of(pod, {"data": own(tmp_path / "data")}), log)
    try:
        client = MlflowClient(f"http://127.0.0.1:{port}")
        until(lambda: "startup complete" in log.read_text() or server.poll() is not None, 240, "MLflow's start")
        assert server.poll() is None, log.read_text()
        run = client.create_run(client.create_experiment("images")).info.run_id
        client.log_metric(run, "accuracy", 0.5)
        client.log_text(run, "some text", "notes.txt")
        assert client.get_run(run).data.metrics == {"accuracy": 0.5}
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    assert [file.read_text() for file in (tmp_path / "data" / "artifacts").rglob("notes.txt")] == ["some text"]
