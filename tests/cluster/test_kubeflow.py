"""cloudedge submit, status and logs against a real Kubeflow Pipelines API server."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import kfp_server_api
import pytest
from kubernetes import client

from cloud.entrypoints.form import form_of
from cloud.runs.lifecycle import create
from cloud.runs.state import set_state
from cloud.runs.step_records import RunState
from cloudedge.documents import Phase, Report, Training, TrainingTask, parse
from cloudedge.documents.report import MAX_REPORT_BYTES
from pipelines.kubeflow.compile import package_of
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeflow import NAMESPACE, KubeflowServer
from tests.cluster.object_store import MinioServer
from tests.cluster.processes import free_port
from tests.cluster.site import Site
from tests.digits import EDGES, digits_task
from tests.docs.pages import ROOT
from tests.docs.reader import Reader
from tests.terminal import Cloudedge, cloudedge
from tests.waiting import until

__all__ = ["cloudedge"]


class Terminal:
    """An engineer's terminal: commands, the cluster's store, and one Kubeflow."""

    def __init__(self, site: Site, kubeflow: KubeflowServer, cloudedge: Cloudedge, patch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.kubeflow = kubeflow
        self._cloudedge = cloudedge
        self._patch = patch
        for variable, value in site.environment(site.control_plane.kubeconfig).items():
            patch.setenv(variable, value)
        patch.setenv("CLOUDEDGE_KUBEFLOW", kubeflow.url)

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """What a command says: its results, or for a person if it ends with another code than 0."""
        with self._patch.context() as patch:
            for variable, value in environment.items():
                patch.setenv(variable, value)
            ended = self._cloudedge(*arguments)
        assert ended.code == code, ended
        return ended.err if code else ended.out

    def task_file(self, task: TrainingTask) -> str:
        path = self.site.folder / f"{task.id}.json"
        path.write_bytes(task.to_json())
        return str(path)

    def submit(self, task: TrainingTask, *options: str) -> dict[str, Any]:
        said = self("submit", self.task_file(task), "--data", "store:digits", *options, "--json")
        return dict(json.loads(said))

    @property
    def api(self) -> Any:
        """Kubeflow's own API, as its pages use it."""
        return kfp_server_api.RunServiceApi(kfp_server_api.ApiClient(kfp_server_api.Configuration(host=self.kubeflow.url)))

    def runs(self, task_id: str) -> list[Any]:
        """What Kubeflow itself says of a task's runs."""
        found = self.api.run_service_list_runs(page_size=100).runs or []
        return [run for run in found if run.runtime_config.parameters["task_id"] == task_id]

    @property
    def pipelines(self) -> Any:
        """Kubeflow's API for what was uploaded."""
        return kfp_server_api.PipelineServiceApi(self.api.api_client)

    def upload(self, package: Path, name: str) -> Any:
        """Upload a package as Kubeflow's pages do; returns its version."""
        uploads = kfp_server_api.PipelineUploadServiceApi(self.api.api_client)
        pipeline = uploads.upload_pipeline(str(package), name=name).pipeline_id
        (version,) = self.pipelines.pipeline_service_list_pipeline_versions(pipeline).pipeline_versions
        return version

    def start(self, version: Any, **parameters: Any) -> str:
        """Start a run of an uploaded package as Kubeflow's pages do; returns its id."""
        reference = {"pipeline_id": version.pipeline_id, "pipeline_version_id": version.pipeline_version_id}
        made = self.api.run_service_create_run(
            kfp_server_api.V2beta1Run(
                display_name="Run of pipeline",
                pipeline_version_reference=kfp_server_api.V2beta1PipelineVersionReference(**reference),
                runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=parameters),
            )
        )
        return str(made.run_id)

    def create(self, run: Any, display_name: str = "Run of pipeline", **parameters: Any) -> str:
        """Start a run of another one's pipeline as Kubeflow's pages do, with some parameters of its own; returns its id."""
        made = self.api.run_service_create_run(
            kfp_server_api.V2beta1Run(
                display_name=display_name,
                experiment_id=run.experiment_id,
                pipeline_spec=run.pipeline_spec,
                runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters={**run.runtime_config.parameters, **parameters}),
            )
        )
        return str(made.run_id)


@pytest.fixture(scope="module")
def place(control_plane: ControlPlane, minio: MinioServer, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A cluster whose store has a dataset."""
    site = Site(tmp_path_factory.mktemp("site"), control_plane, minio)
    samples = site.folder / "log.csv"
    samples.write_text("a,b\n1,2\n")
    site.cli("data", "put", "digits", str(samples))
    return site


@pytest.fixture
def terminal(place: Site, kubeflow: KubeflowServer, cloudedge: Cloudedge, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal at a Kubeflow of one user."""
    return Terminal(place, kubeflow, cloudedge, monkeypatch)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A task's id of the test's own, as all tests share one Kubeflow."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:40].strip("-")


def test_a_submitted_task_becomes_one_workflow_and_takes_every_parameter_with_it(terminal: Terminal, name: str) -> None:
    task = digits_task(name, rounds=5).model_copy(update={"name": "Digits " * 25})

    said = terminal("submit", terminal.task_file(task), "--data", "store:digits", "--test-data", "store:digits")

    (run,) = terminal.runs(name)
    assert said == (
        f"Submitted {name} as Kubeflow's run {run.run_id}\n{terminal.kubeflow.url}/#/runs/details/{run.run_id}\n"
        f"Follow it with: cloudedge status {name} --follow\n"
    )
    data = {"cloud_data": "store:digits", "test_data": "store:digits"}
    assert run.runtime_config.parameters == {**form_of(type(task)).values_of(task), **data}
    assert run.display_name == f"{task.name[:64]} ({name})"
    assert terminal.kubeflow.workflow(run.run_id)["metadata"]["name"].startswith("collaborative-training-compact-")


@pytest.mark.parametrize(
    ("rounds", "options", "tasks"),
    [(2, (), 10), (3, (), 13), (4, (), 5), (2, ("--compact",), 5), (4, ("--flat",), 16)],
)
def test_up_to_three_rounds_each_step_is_a_task_unless_one_asks_otherwise(
    terminal: Terminal, rounds: int, options: tuple[str, ...], tasks: int
) -> None:
    shape = digits_task(f"shape-{rounds}{''.join(options)}", rounds=rounds)

    assert len(terminal.submit(shape, *options)["tasks"]) == tasks


def test_a_task_that_runs_is_not_submitted_again_whoever_started_it(terminal: Terminal, name: str) -> None:
    made = terminal.submit(digits_task(name))

    said = terminal("submit", terminal.task_file(digits_task(name)), "--data", "store:digits", code=4)

    assert said.startswith(f"{name} is being run by Kubeflow already ({made['url']}): ")
    assert len(terminal.runs(name)) == 1


def test_a_task_that_failed_is_submitted_again_and_the_newest_run_is_shown(terminal: Terminal, name: str) -> None:
    first = terminal.submit(digits_task(name))
    terminal.kubeflow.report(first["kubeflow_id"], "Failed", pretrain="Failed")

    second = terminal.submit(digits_task(name))

    assert second["kubeflow_id"] != first["kubeflow_id"]
    assert json.loads(terminal("status", name, "--json"))["kubeflow_id"] == second["kubeflow_id"]
    assert json.loads(terminal("status", first["kubeflow_id"], "--json"))["state"] == "FAILED"


def test_a_run_that_is_under_way_is_shown_before_a_newer_one_that_is_over(terminal: Terminal, name: str) -> None:
    made = terminal.submit(digits_task(name))
    (run,) = terminal.runs(name)
    terminal.kubeflow.report(terminal.create(run, display_name=f"Again ({name})"), "Failed", pretrain="Failed")

    assert json.loads(terminal("status", name, "--json"))["kubeflow_id"] == made["kubeflow_id"]


def test_a_run_from_the_ui_goes_by_kubeflows_id(terminal: Terminal) -> None:
    made = terminal.submit(digits_task("from-the-ui"))
    by_hand = terminal.create(terminal.runs("from-the-ui")[0], task_id="")

    shown = json.loads(terminal("status", by_hand, "--json"))

    assert (shown["id"], shown["kubeflow_id"]) == (by_hand, by_hand)
    assert made["kubeflow_id"] != by_hand


def test_a_run_of_an_uploaded_package_is_found_by_its_form_though_it_is_over_and_has_its_tasks(
    terminal: Terminal, name: str, tmp_path: Path
) -> None:
    package = tmp_path / "package.yaml"
    package.write_bytes(package_of(digits_task(name), compact=True))
    version = terminal.upload(package, name)
    run = terminal.start(version, task_id=name, cloud_data="store:digits")
    terminal.kubeflow.report(run, "Failed", pretrain="Succeeded", collaborate="Failed")

    lines = terminal("status", name).splitlines()

    assert lines[0].startswith("Run of pipeline: failed, since ")
    assert [line.split()[:3] for line in lines[3:5]] == [["Pretrain", "done", "1"], ["All", "rounds", "failed"]]
    # Nobody else's runs are in the way of its logs either.
    assert f"no pod of the run {run}, task All rounds" in terminal("logs", name, "--task", "All rounds", code=3)

    terminal.pipelines.pipeline_service_delete_pipeline_version(version.pipeline_id, version.pipeline_version_id)

    lines = terminal("status", name).splitlines()
    assert "Kubeflow does not have its pipeline any more" in lines[2]
    assert [line.split()[:2] for line in lines[4:6]] == [["collaborate", "failed"], ["pretrain", "done"]]


def test_a_task_that_kubeflow_could_not_prepare_failed_and_has_its_words(terminal: Terminal, name: str) -> None:
    made = terminal.submit(digits_task(name))
    broken = "Error (exit code 1): KFP driver: no such secret"
    terminal.kubeflow.report(made["kubeflow_id"], "Failed", broken_driver=broken, pretrain="Succeeded", dispatch="Omitted")

    *rows, said = terminal("status", name).splitlines()

    assert rows[4].split()[:4] == ["Round", "1:", "dispatch", "failed"]
    assert said.startswith(f"Kubeflow failed the run at Round 1: dispatch: {broken}. More is in cloudedge logs ")


def test_kubeflow_asks_for_the_clouds_data_by_name(terminal: Terminal, name: str) -> None:
    terminal.submit(digits_task(name))
    (run,) = terminal.runs(name)
    del run.runtime_config.parameters["cloud_data"]

    with pytest.raises(kfp_server_api.ApiException, match="parameter cloud_data is not optional"):
        terminal.create(run)


def test_status_says_how_each_task_stands_and_how_long_it_took(terminal: Terminal, name: str) -> None:
    made = terminal.submit(digits_task(name, rounds=5))
    terminal.kubeflow.report(made["kubeflow_id"], "Running", pretrain="Succeeded", collaborate="Running")

    lines = terminal("status", name).splitlines()

    assert lines[0].startswith(f"Digits ({name}): running, since 20")
    assert lines[1] == made["url"]
    assert [line.split() for line in lines[2:4]] == [["task", "state", "took"], ["Pretrain", "done", "1", "min", "5", "s"]]
    assert re.fullmatch(r"All rounds +running +\d+ d \d+ h", lines[4])
    assert [line.split() for line in lines[5:]] == [[step, "not", "begun"] for step in ("Evaluate", "Register", "Report")]


def test_a_failed_run_is_explained_by_what_its_step_wrote(terminal: Terminal, name: str) -> None:
    task = digits_task(name)
    made = terminal.submit(task)
    run = terminal.site.run(task)
    create(run, task, "pipeline")
    began = terminal.runs(name)[0].created_at
    set_state(run, RunState(state="failed", message="The loss is no longer a number.", exit_code=8, at=began))
    terminal.kubeflow.report(made["kubeflow_id"], "Failed", pretrain="Failed")

    assert terminal("status", name).splitlines()[-1] == "The loss is no longer a number."
    assert terminal("status", name, "--follow", code=8).splitlines() == [
        "Pretrain: failed after 1 min 5 s",
        "The loss is no longer a number.",
    ]


def test_a_run_that_no_step_could_explain_names_the_task_and_the_logs(terminal: Terminal, name: str) -> None:
    made = terminal.submit(digits_task(name))
    terminal.kubeflow.report(made["kubeflow_id"], "Failed", pretrain="Succeeded", dispatch="Failed", wait="Omitted")

    *rows, said = terminal("status", name).splitlines()

    assert rows[5].split() == ["Round", "1:", "wait", "not", "begun"]
    run = made["kubeflow_id"]
    assert said == f"Kubeflow failed the run at Round 1: dispatch, and no step could say why: cloudedge logs {run}"


def test_a_run_is_followed_until_it_is_over(terminal: Terminal, name: str) -> None:
    made = terminal.submit(digits_task(name, rounds=5))
    follower = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "status", name, "--follow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    assert follower.stderr is not None
    run = made["kubeflow_id"]
    terminal.kubeflow.report(run, "Running", pretrain="Running")
    assert follower.stderr.readline() == "Pretrain: running\n"
    terminal.kubeflow.report(run, "Running", pretrain="Succeeded", collaborate="Running")
    assert [follower.stderr.readline() for _ in range(2)] == ["Pretrain: done after 1 min 5 s\n", "All rounds: running\n"]
    steps = dict.fromkeys(("pretrain", "collaborate", "evaluate", "register", "report"), "Succeeded")
    terminal.kubeflow.report(run, "Succeeded", **steps)

    out, err = follower.communicate()

    assert follower.returncode == 0, err
    assert err.splitlines()[-1] == "Report: done after 1 min 5 s"
    assert out.startswith(f"Digits ({name}): done, since 2026-01-02")


def test_cancelling_a_task_ends_its_run_on_kubeflow_too(terminal: Terminal, name: str) -> None:
    task = digits_task(name)
    terminal.submit(task)
    create(terminal.site.run(task), task, "pipeline")

    assert terminal("tasks", "cancel", name) == f"Run {name} is cancelled.\n"

    (run,) = terminal.runs(name)
    assert run.state == "CANCELING"
    assert terminal.kubeflow.workflow(run.run_id)["spec"]["activeDeadlineSeconds"] == 0
    terminal.kubeflow.report(run.run_id, "Failed", pretrain="Failed")
    assert terminal("status", name).splitlines()[-1].startswith(f"Run {name} was cancelled: By ")
    assert "is cancelled since" in terminal("submit", terminal.task_file(task), "--data", "store:digits", code=4)


def test_a_run_that_was_terminated_in_kubeflows_pages_is_said_to_be_so(terminal: Terminal, name: str) -> None:
    made = terminal.submit(digits_task(name))
    terminal.api.run_service_terminate_run(made["kubeflow_id"])
    terminal.kubeflow.report(made["kubeflow_id"], "Running", pretrain="Running")  # The agent sees that it is to end.
    terminal.kubeflow.report(made["kubeflow_id"], "Failed", pretrain="Failed")

    assert terminal("status", name, "--follow", code=7).splitlines()[-1].startswith("The run was terminated in Kubeflow. ")


def test_edges_stop_when_the_reaper_has_looked_after_a_run_was_terminated_in_kubeflows_pages(
    terminal: Terminal, samples: Path, name: str
) -> None:
    site = terminal.site
    task = digits_task(name, rounds=1, training=Training(epochs=100_000, batch_size=4))
    run = site.run(task)

    def phases() -> set[Phase]:
        orders = [order for edge in EDGES if (order := run.order("1", edge))]
        reports = [
            run.store.get(run.report_key(order), MAX_REPORT_BYTES) for order in orders if run.store.stat(run.report_key(order))
        ]
        return {parse(Report, report, "report").phase for report in reports} if len(reports) == len(EDGES) else set()

    made = terminal.submit(task, "--compact")
    with site.edges(samples, EDGES):
        site.put_samples(samples)
        pods = site.pipeline(task, compact=True)
        site.until(lambda: phases() == {Phase.TRAINING}, pods, "all edges at work")
        terminal.api.run_service_terminate_run(made["kubeflow_id"])
        pods.kill()  # As Argo does with the run's pods; ours gets no time to close its orders.
        pods.wait()
        # The reaper's own command, with less patience; again and again, as the CronJob does.
        reaper = ("tasks", "reap", "--silent-seconds", "1")
        until(lambda: f"{name}: {len(EDGES)} orders closed." in site.cli(*reaper), what="the reaper's work")
        logs = [site.folder / f"{edge}.log" for edge in EDGES]
        until(lambda: all(f"{name}.1.{log.stem}.1 cancelled" in log.read_text() for log in logs), what="all edges idle")
    state = run.state()
    assert state is not None
    assert state.state == "stopped"


def test_a_task_is_cancelled_for_its_edges_even_if_kubeflow_is_away(terminal: Terminal, name: str) -> None:
    task = digits_task(name)
    run = terminal.site.run(task)
    create(run, task, "pipeline")

    said = terminal("tasks", "cancel", name, code=5, CLOUDEDGE_KUBEFLOW=f"http://127.0.0.1:{free_port()}")

    assert "does not answer" in said
    state = run.state()
    assert state is not None
    assert state.state == "cancelled"


def test_of_two_who_submit_at_the_same_moment_at_most_one_has_their_way(terminal: Terminal, name: str) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "submit", terminal.task_file(digits_task(name)), "--data", "store:digits"]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]

    assert sorted(process.returncode for process in both) in ([0, 4], [4, 4]), said
    assert [run.state for run in terminal.runs(name)].count("PENDING") == [process.returncode for process in both].count(0)


def test_a_task_whose_first_step_has_not_begun_is_cancelled_on_kubeflow(terminal: Terminal, name: str) -> None:
    terminal.submit(digits_task(name))

    terminal("tasks", "cancel", name)

    assert [run.state for run in terminal.runs(name)] == ["CANCELING"]
    assert terminal("tasks", "cancel", "nobody", code=3).startswith("There is no run 'nobody'")


def test_what_cannot_run_is_not_submitted(terminal: Terminal, name: str) -> None:
    task = digits_task(name)
    path = terminal.task_file(task)
    wrong = digits_task("wrong").model_copy(update={"model": task.model.model_copy(update={"architecture": "transformer"})})
    finished = digits_task("finished")
    run = terminal.site.run(finished)
    create(run, finished, "pipeline")
    set_state(run, RunState(state="finished", at=datetime.now(UTC)))

    def refused(code: int, *arguments: str) -> str:
        return terminal("submit", *arguments, code=code)

    assert "Pretraining needs samples in the cloud: name them with --data store:NAME" in refused(2, path)
    assert "cannot read this machine's folders" in refused(2, path, "--data", "./samples")
    assert "There is no dataset 'nails' in the store; there are: digits" in refused(3, path, "--data", "store:nails")
    assert "There is no dataset" in refused(3, path, "--data", "store:digits", "--test-data", "store:nails")
    assert "There is no architecture 'transformer'" in refused(2, terminal.task_file(wrong), "--data", "store:digits")
    assert "is finished since" in refused(4, terminal.task_file(finished), "--data", "store:digits")
    other = digits_task("finished", rounds=7)
    assert "belongs to a run of another task" in refused(4, terminal.task_file(other), "--data", "store:digits")
    assert terminal.runs(name) == []


def test_what_is_no_kubeflow_is_said_in_one_sentence(terminal: Terminal) -> None:
    def said(address: str, code: int) -> str:
        (line,) = terminal("status", "anything", code=code, CLOUDEDGE_KUBEFLOW=address).splitlines()
        return line

    assert said("", 2).startswith("The address of Kubeflow Pipelines is '': set CLOUDEDGE_KUBEFLOW")
    nobody = f"http://127.0.0.1:{free_port()}"
    assert said(nobody, 5).startswith(f"Kubeflow at {nobody} does not answer: ")
    with web_page() as page:
        assert said(page, 2).startswith(f"{page} answers with text/html, not as Kubeflow Pipelines does.")
    assert "Correct the address: in a whole Kubeflow it ends in /pipeline." in said(f"{terminal.kubeflow.url}/elsewhere", 2)
    (line,) = terminal("status", "nobody", code=3).splitlines()
    assert line.startswith(f"Kubeflow at {terminal.kubeflow.url} knows no run of 'nobody'.")
    gone = "00000000-0000-4000-8000-000000000000"
    assert f"did not show the run {gone}: 404" in terminal("status", gone, code=3)


def test_logs_say_why_a_pod_has_not_started_and_which_tasks_there_are(
    terminal: Terminal, control_plane: ControlPlane, name: str
) -> None:
    made = terminal.submit(digits_task(name))
    run, workflow = made["kubeflow_id"], terminal.kubeflow.workflow(made["kubeflow_id"])["metadata"]["name"]
    assert f"There is no pod of the run {run} in namespace kubeflow of https://" in terminal("logs", name, code=3)
    pods = {"pretrain-driver(0)": "driver", "pretrain(0).executor(0)": "executor"}
    for node, kind in pods.items():
        make_pod(control_plane, f"{name}-{kind}", run, f"{workflow}(0).root(0).{node}")

    # The scheduler may have had its say already.
    assert re.fullmatch(r"== Pretrain ==\n\(has not started: (Pending|Unschedulable, .*)\)\n", terminal("logs", name))
    assert "no pod of the run" in terminal("logs", name, "--task", "Round 1: wait", code=3)
    assert "has no task 'Dance'; it has: Pretrain, Round 1: dispatch," in terminal("logs", name, "--task", "Dance", code=3)


def test_a_shared_kubeflow_wants_a_token_and_a_namespace_of_ones_own(
    place: Site,
    shared_kubeflow: KubeflowServer,
    control_plane: ControlPlane,
    name: str,
    cloudedge: Cloudedge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal(place, shared_kubeflow, cloudedge, monkeypatch)
    path = terminal.task_file(digits_task(name))
    namespace, token = engineer(control_plane)

    def submit(code: int, namespace: str, token: str) -> str:
        given = {"CLOUDEDGE_KUBEFLOW_NAMESPACE": namespace, "CLOUDEDGE_KUBEFLOW_TOKEN": token}
        return terminal("submit", path, "--data", "store:digits", code=code, **given)

    assert "Set CLOUDEDGE_KUBEFLOW_TOKEN to a token that is valid." in submit(2, namespace, "")
    assert "Set CLOUDEDGE_KUBEFLOW_TOKEN to a token that is valid." in submit(2, namespace, "stolen")
    assert "Name a namespace of yours: --namespace" in submit(2, NAMESPACE, token)
    assert "name your namespace: --namespace" in submit(2, "", token)
    assert shared_kubeflow.workflows(namespace) == []
    assert submit(0, namespace, token).startswith(f"Submitted {name} as Kubeflow's run ")
    assert len(shared_kubeflow.workflows(namespace)) == 1
    assert "is being run by Kubeflow already" in submit(4, namespace, token)


def test_the_page_on_kubeflow_is_true_word_for_word(place: Site, kubeflow: KubeflowServer) -> None:
    environment = place.environment(place.control_plane.kubeconfig)
    ours = {name: value for name, value in environment.items() if name.startswith(("CLOUDEDGE_", "AWS_", "KUBECONFIG"))}
    reader = Reader(place.folder / "reader", environment={**ours, "CLOUDEDGE_KUBEFLOW": kubeflow.url})
    reader.write_files(ROOT / "README.md")
    (place.folder / "reader" / "machines" / "cloud").mkdir(parents=True)
    (place.folder / "reader" / "machines" / "cloud" / "week-1.csv").write_text("vibration,temperature,state\n2.5,54,good\n")
    reader.read(ROOT / "docs" / "kubeflow.md")


@contextmanager
def web_page() -> Iterator[str]:
    """A server that has a page for whoever asks, as a company's sign-in does."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Sign in</title>")

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def make_pod(control_plane: ControlPlane, name: str, run: str, node: str) -> None:
    """A pod as Argo makes one for a node of a Workflow."""
    metadata = {
        "name": name,
        "labels": {"pipeline/runid": run},
        "annotations": {"workflows.argoproj.io/node-name": node},
    }
    container = {"name": "main", "image": "nothing"}
    core = client.CoreV1Api(control_plane.client())
    until(lambda: core.list_namespaced_service_account(NAMESPACE).items, what="the namespace's account")
    core.create_namespaced_pod(NAMESPACE, {"metadata": metadata, "spec": {"containers": [container]}})


def engineer(control_plane: ControlPlane) -> tuple[str, str]:
    """Somebody who may run pipelines in a namespace of their own, and nowhere else: the namespace, and their token."""
    api = control_plane.client()
    namespace = control_plane.namespace()
    core = client.CoreV1Api(api)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "engineer"}})
    access = client.RbacAuthorizationV1Api(api)
    rule = {"apiGroups": ["pipelines.kubeflow.org"], "resources": ["runs", "experiments"], "verbs": ["*"]}
    access.create_namespaced_role(namespace, {"metadata": {"name": "engineer"}, "rules": [rule]})
    access.create_namespaced_role_binding(
        namespace,
        {
            "metadata": {"name": "engineer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "engineer"},
            "subjects": [{"kind": "ServiceAccount", "name": "engineer", "namespace": namespace}],
        },
    )
    body: dict[str, Any] = {"spec": {"expirationSeconds": 3600, "audiences": ["pipelines.kubeflow.org"]}}
    token = core.create_namespaced_service_account_token("engineer", namespace, body).status.token
    return namespace, str(token)
