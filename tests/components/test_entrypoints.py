"""Components run in this process, with real artifacts: what the Kubeflow UI gets of each step."""

import inspect
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy
import pytest
from kfp import dsl

from cloud import datasets
from cloud.entrypoints import entrypoint
from cloud.entrypoints.form import form_of
from cloud.runs.state import set_state
from cloud.runs.step_records import RunState
from cloud.tracking.relay import Trouble
from cloudedge.documents import Scores, TrainingTask
from cloudedge.errors import Conflict, InvalidInput, NotFound
from cloudedge.names import sha256_of
from components.collaborative_training.collaborate.component import collaborate
from components.collaborative_training.fuse import step as fusing
from components.collaborative_training.fuse.component import fuse
from components.collaborative_training.pretrain.component import pretrain
from components.dispatch.component import dispatch
from components.evaluate.component import evaluate
from components.register.component import register
from components.report.component import report
from components.wait.component import wait
from pipelines.fields import with_fields
from tests.components.cloud import Cloud
from tests.digits import EDGES
from tests.waiting import until

PRETRAIN = with_fields(pretrain, form_of(TrainingTask))


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Make an empty artifact."""

    def make(kind: Any, name: str) -> Any:
        return kind(name=name, uri=str(tmp_path / "artifacts" / name))

    return make


def pretrained(cloud: Cloud, made: Any, **changes: Any) -> tuple[str, dsl.Model, dsl.Metrics]:
    model, metrics = made(dsl.Model, "pretrained"), made(dsl.Metrics, "pretraining")
    values = {"cloud_data": str(cloud.cloud_data), "test_data": "", "most_rounds": 2, "kubeflow_run_id": "from-kubeflow"}
    artifacts = {"pretrained": model, "pretraining_metrics": metrics}
    (run,) = PRETRAIN.python_func(**artifacts, **{**form_of(TrainingTask).values_of(cloud.task), **values, **changes})
    return run, model, metrics


def digest_in_store(artifact: dsl.Model) -> str:
    """Digest of the model that an artifact says is in the store, in its content and its properties alike."""
    said = json.loads(Path(artifact.path).read_text())
    assert artifact.metadata == said
    model = Path(unquote(urlsplit(said["model_uri"]).path))
    assert (said["size"], said["sha256"]) == (model.stat().st_size, sha256_of(model))
    return sha256_of(model)


def judge_all(cloud: Cloud) -> threading.Thread:
    """Let the edges answer as soon as they are asked."""

    def judge() -> None:
        for edge in EDGES:
            until(lambda edge=edge: [order.work.kind for order in cloud.orders(edge)] == ["evaluate"])  # type: ignore[misc]
            cloud.judge(edge, 0.5, 0.75)

    thread = threading.Thread(target=judge)
    thread.start()
    return thread


def test_each_step_leaves_what_the_next_one_and_a_person_need(
    cloud: Cloud, made: Any, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_POD_NAME", "some-pod")
    for edge in EDGES:
        cloud.inboxes.enroll(edge)

    run, base, metrics = pretrained(cloud, made)
    record = cloud.run.pretraining()
    assert run == "digits"
    assert record is not None
    assert digest_in_store(base) == record.sha256
    assert set(metrics.metadata) == {"accuracy_on_cloud", "recall_on_cloud", "loss_on_cloud", "samples", "seconds"}

    assert dispatch.python_func(run=run, step="1") == (run, 3)
    for edge in EDGES:
        cloud.deliver(edge)
    page = made(dsl.HTML, "waited")
    assert wait.python_func(edges_in_step=page, run=run, step="1") == (run, 3)
    assert "<h2>Round 1: 3 of 3 edges delivered" in Path(page.path).read_text()

    fused, metrics = made(dsl.Model, "fused"), made(dsl.Metrics, "fusion")
    answer = fuse.python_func(fused=fused, fusion_metrics=metrics, run=run, round_number=1, cloud_data=str(cloud.cloud_data))
    fusion = cloud.run.fusion(1)
    assert fusion is not None
    assert answer == (run, 3)
    assert metrics.metadata["contributions"] == 3
    assert metrics.metadata["base_accuracy_on_edges"] == fusion.base_accuracy
    assert 0 <= metrics.metadata["accuracy_on_cloud"] <= 1
    assert digest_in_store(fused) == fusion.sha256

    metrics, confusion = made(dsl.Metrics, "evaluation"), made(dsl.ClassificationMetrics, "confusion")
    judges = judge_all(cloud)
    artifacts = {"evaluation_metrics": metrics, "confusion_matrix": confusion}
    assert evaluate.python_func(**artifacts, run=run, test_data=str(digits / "test")) == (run, True)
    judges.join()
    assert set(metrics.metadata) == {
        f"{model}_accuracy_on_{on}" for model in ("pretrained", "fused") for on in ("edges", "test")
    }
    assert metrics.metadata["fused_accuracy_on_edges"] == 0.75
    matrix = confusion.metadata["confusionMatrix"]
    assert [spec["displayName"] for spec in matrix["annotationSpecs"]] == list("0123456789")
    assert sum(sum(row["row"]) for row in matrix["rows"]) == 200

    assert register.python_func(run=run, passed=True) == (run, "tiny-digits")
    page = made(dsl.HTML, "report")
    report.python_func(run_report=page, run=run, registered_model="tiny-digits")
    assert Path(page.path).read_bytes() == cloud.store.get(cloud.run.key("report.html"), 1 << 26)
    state = cloud.run.state()
    assert state is not None
    assert state.state == "finished"


def test_a_round_that_is_not_needed_shows_the_last_model(cloud: Cloud, made: Any) -> None:
    cloud.pretrained(rounds=2, target_accuracy=0.3).round(1, EDGES)
    run, fused, metrics, page = "digits", made(dsl.Model, "fused"), made(dsl.Metrics, "m"), made(dsl.HTML, "page")

    assert dispatch.python_func(run=run, step="2") == (run, 0)
    assert wait.python_func(edges_in_step=page, run=run, step="2") == (run, 0)
    assert fuse.python_func(fused, metrics, run, 2, "") == (run, 0)

    record = cloud.run.fusion(1)
    assert record is not None
    assert "This round was not needed." in Path(page.path).read_text()
    assert (digest_in_store(fused), fused.metadata["round"]) == (record.sha256, 1)


def test_all_rounds_in_one_give_the_last_model(cloud: Cloud, made: Any) -> None:
    cloud.pretrained(rounds=1).round(1, EDGES)
    fused = made(dsl.Model, "fused")

    assert collaborate.python_func(fused=fused, run="digits", cloud_data="") == ("digits", 1)

    record = cloud.run.fusion(1)
    assert record is not None
    assert digest_in_store(fused) == record.sha256


def test_without_an_id_each_kubeflow_run_is_a_run_of_its_own(cloud: Cloud, made: Any) -> None:
    run, _, _ = pretrained(cloud, made, task_id="")

    assert run == "from-kubeflow"


@pytest.mark.parametrize(
    ("kubeflow_run", "recorded"),
    [("0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000001"), ("12345678", None)],
    ids=["on Kubeflow", "on a laptop"],
)
def test_a_run_knows_which_of_kubeflows_works_on_it(cloud: Cloud, made: Any, kubeflow_run: str, recorded: str | None) -> None:
    pretrained(cloud, made, kubeflow_run_id=kubeflow_run)

    record = cloud.run.kubeflow()
    assert (record and record.run) == recorded


@pytest.mark.parametrize(("task_id", "run"), [("digits", "digits"), ("", "from-kubeflow")])
def test_a_form_that_is_one_document_asks_for_the_same_model(
    cloud: Cloud, made: Any, tmp_path: Path, task_id: str, run: str
) -> None:
    _, by_fields, _ = pretrained(cloud, made, task_id="by-fields")
    artifacts = {"pretrained": made(dsl.Model, "document"), "pretraining_metrics": made(dsl.Metrics, "of-document")}
    places = {"cloud_data": str(cloud.cloud_data), "test_data": "", "kubeflow_run_id": "from-kubeflow", "most_rounds": 2}
    pasted = {**form_of(TrainingTask).document_of(cloud.task), "id": "from-a-file"}

    assert pretrain.python_func(**artifacts, **places, task=pasted, task_id=task_id) == (run,)

    assert artifacts["pretrained"].metadata["sha256"] == by_fields.metadata["sha256"]


def refused(cloud: Cloud, made: Any, capsys: pytest.CaptureFixture[str], **changes: Any) -> tuple[object, str]:
    """How a filled form that cannot be run ends, and what is said."""
    with pytest.raises(SystemExit) as ended:
        pretrained(cloud, made, **changes)
    return ended.value.code, capsys.readouterr().err.removeprefix("Error: ")


def test_a_clone_of_a_finished_run_says_how_to_run_it_again(
    cloud: Cloud, made: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained(cloud, made)
    set_state(cloud.run, RunState(state="finished", at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)))

    assert refused(cloud, made, capsys) == (
        Conflict.exit_code,
        "Run digits of this very task is finished since 2026-01-02 03:04:05 UTC. To run it again, leave task_id empty, and it "
        "is a run of its own, from-kubeflow.\n",
    )
    assert pretrained(cloud, made, task_id="")[0] == "from-kubeflow"


def test_a_finished_run_of_which_mlflow_has_not_all_may_be_run_again_so_that_it_is_told(cloud: Cloud, made: Any) -> None:
    pretrained(cloud, made)
    set_state(cloud.run, RunState(state="finished", at=datetime.now(UTC)))
    trouble = Trouble(message="It is away.", kind="away", at=datetime.now(UTC), until=datetime.now(UTC))
    cloud.store.put(cloud.run.key("tracking", "trouble.json"), trouble.to_json())

    assert pretrained(cloud, made)[0] == "digits"
    state = cloud.run.state()
    assert state is not None
    assert state.state == "finished"


def test_a_clone_of_a_failed_run_goes_on_with_it(cloud: Cloud, made: Any) -> None:
    pretrained(cloud, made)
    set_state(cloud.run, RunState(state="failed", at=datetime.now(UTC)))

    assert pretrained(cloud, made)[0] == "digits"


def test_a_clone_that_was_changed_says_how_to_run_it(cloud: Cloud, made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pretrained(cloud, made)

    code, said = refused(cloud, made, capsys, random_seed=77)

    assert code == Conflict.exit_code
    assert said.startswith("The id 'digits' belongs to a run of another task.")
    assert said.endswith("Or leave task_id empty, and it is a run of its own, from-kubeflow.\n")
    assert pretrained(cloud, made, random_seed=77, task_id="")[0] == "from-kubeflow"


@pytest.mark.parametrize(
    ("parameter", "place"),
    [
        *(("cloud_data", place) for place in ("", " ", ".", "digits", "./digits", "file:digits")),
        *(("test_data", place) for place in (" ", ".", "digits")),  # Empty, there are none.
    ],
)
def test_data_that_would_be_looked_for_where_a_step_happens_to_work_are_refused_by_name_before_a_run_exists(
    cloud: Cloud, made: Any, capsys: pytest.CaptureFixture[str], parameter: str, place: str
) -> None:
    code, said = refused(cloud, made, capsys, **{parameter: place})

    assert code == InvalidInput.exit_code
    assert said.startswith(f"{parameter} is {place!r}: give store:NAME, samples in the store (cloudedge data put NAME FOLDER)")
    assert not cloud.run.exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("store:tests", "There is no dataset 'tests' in the store; there are: digits."),
        ("/no/tests", "test_data is '/no/tests'"),
    ],
)
def test_test_data_that_are_not_there_are_known_before_anything_is_trained(
    cloud: Cloud, made: Any, capsys: pytest.CaptureFixture[str], digits: Path, place: str, message: str
) -> None:
    list(datasets.put(cloud.store, "digits", digits / "test"))

    code, said = refused(cloud, made, capsys, test_data=place)

    assert (code, said.startswith(message)) == (NotFound.exit_code, True), said
    assert not cloud.run.exists()
    assert pretrained(cloud, made, test_data="store:digits")[0] == "digits"


@pytest.mark.parametrize("most", [0, 1])
def test_more_rounds_than_tasks_are_refused_before_a_run_exists(
    cloud: Cloud, made: Any, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = refused(cloud, made, capsys, most_rounds=most)

    assert code == InvalidInput.exit_code
    assert said.startswith(f"rounds is 2, but this pipeline has tasks for {most}: ask for fewer")
    assert not cloud.run.exists()


def test_every_component_ends_with_an_errors_message_and_exit_code(
    cloud: Cloud, made: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    anything = made(dsl.Model, "anything")
    for component in (dispatch, wait, fuse, collaborate, evaluate, register, report):
        parameters = inspect.signature(component.python_func).parameters.values()
        given = {str: "absent", int: 1, bool: True}
        arguments = {each.name: given.get(each.annotation, anything) for each in parameters}

        with pytest.raises(SystemExit) as ended:
            component.python_func(**arguments)

        said = capfd.readouterr().err
        assert (ended.value.code, said.count("\n")) == (NotFound.exit_code, 1)
        assert "absent" in said


@pytest.mark.parametrize(
    ("ending", "code", "last"),
    [
        (InvalidInput("The form is wrong:\n  - rounds is 0"), 2, ["Error: The form is wrong:", "  - rounds is 0"]),
        (
            ZeroDivisionError("!"),
            1,
            ["Error: ZeroDivisionError: !. This is a mistake in cloudedge: please report it, with the lines above."],
        ),
        (SystemExit(143), 143, ["Error: The step was terminated. The same task, run again, goes on where it was."]),
    ],
    ids=["on purpose", "a mistake of ours", "terminated"],
)
@pytest.mark.parametrize("pod", [True, False], ids=["in Kubeflow's pod", "elsewhere"])
def test_the_reason_of_an_end_is_the_last_that_a_step_says_and_its_pods_message(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ending: BaseException,
    code: int,
    last: list[str],
    pod: bool,
) -> None:
    message = tmp_path / "termination-log"
    monkeypatch.setattr(entrypoint, "_TERMINATION_LOG", message)
    if pod:
        monkeypatch.setenv("KFP_POD_NAME", "pretrain-1")

    @entrypoint.entrypoint
    def work() -> None:
        print("At work.")
        raise ending

    with pytest.raises(SystemExit) as ended:
        work()

    said = capfd.readouterr()
    assert ended.value.code == code
    assert said.out == "At work.\n"
    assert said.err.splitlines()[-len(last) :] == last
    assert ("Traceback" in said.err) == (code == 1), "only where it is for whoever writes the software"
    assert (message.read_text() if message.exists() else None) == ("\n".join(last).removeprefix("Error: ") if pod else None)


def test_a_reason_too_long_for_a_pods_message_is_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = tmp_path / "termination-log"
    monkeypatch.setattr(entrypoint, "_TERMINATION_LOG", message)
    monkeypatch.setenv("KFP_POD_NAME", "pretrain-1")

    @entrypoint.entrypoint
    def work() -> None:
        raise InvalidInput("x" + "😀" * 2000)

    with pytest.raises(SystemExit):
        work()
    assert 4092 <= len(message.read_text(encoding="utf-8").encode()) <= 4096, "and no character of it"

    monkeypatch.setattr(entrypoint, "_TERMINATION_LOG", tmp_path)
    with pytest.raises(SystemExit):
        work()


def test_scores_without_samples_do_not_break_the_page(cloud: Cloud, made: Any) -> None:
    cloud.pretrained(edges=("edge-1",)).dispatched()
    cloud.deliver("edge-1", scores={"model": Scores(samples=0, loss=0, accuracy=0, recall=0)})
    page = made(dsl.HTML, "waited")

    assert wait.python_func(edges_in_step=page, run="digits", step="1") == ("digits", 1)
    assert '<td data-title="Edge">edge-1</td><td data-title="State">done</td>' in Path(page.path).read_text()


@pytest.mark.parametrize(
    "why",
    [
        "nothing is held out",
        "the samples are many",
        "their files are many",
        "their files are elsewhere, and many",
        "the model is large",
        "the samples are gone",
        "nobody looks at the laptop's artifacts",
    ],
)
def test_a_fused_model_that_is_not_quickly_measured_in_the_cloud_has_no_accuracy_there_and_is_fused_all_the_same(
    cloud: Cloud, made: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str
) -> None:
    if "laptop" not in why:
        monkeypatch.setenv("KFP_POD_NAME", "fuse-1")
    cloud.pretrained(rounds=1).dispatched(1)
    for edge in EDGES:
        cloud.deliver(edge)
    cloud.waited(1)
    record = cloud.run.pretraining()
    assert record is not None
    if why == "nothing is held out":
        last = record.history[-1]
        none = last.model_copy(update={"scores": Scores(samples=0, loss=0, accuracy=0, recall=0)})
        cloud.run.put(cloud.run.key("pretrained", "record.json"), record.model_copy(update={"history": (none,)}))
    monkeypatch.setattr(fusing, "_MOST_SAMPLES_BYTES", 1 if why == "the samples are many" else 10**6)
    monkeypatch.setattr(fusing, "_MOST_MODEL_BYTES", 1 if why == "the model is large" else 10**6)
    monkeypatch.setattr(fusing, "_MOST_SAMPLES_FILES", 0 if "files are" in why else 10)
    place = "store:gone" if why == "the samples are gone" else str(cloud.cloud_data)
    if "elsewhere" in why:
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked" / "folder").symlink_to(cloud.cloud_data)
        place = str(tmp_path / "linked")
    metrics = made(dsl.Metrics, "fusion")

    assert fuse.python_func(made(dsl.Model, "fused"), metrics, "digits", 1, place) == ("digits", 3)

    assert {"base_accuracy_on_edges", "contributions"} < set(metrics.metadata)
    assert "accuracy_on_cloud" not in metrics.metadata


def test_pretraining_that_held_nothing_out_has_no_accuracy(cloud: Cloud, made: Any, digits: Path, tmp_path: Path) -> None:
    with numpy.load(next((digits / "cloud").iterdir())) as samples:
        _, first = numpy.unique(samples["label"], return_index=True)
        (tmp_path / "one-a-class").mkdir()
        numpy.savez(tmp_path / "one-a-class" / "digits.npz", image=samples["image"][first], label=samples["label"][first])

    _, _, metrics = pretrained(cloud, made, cloud_data=str(tmp_path / "one-a-class"))

    assert set(metrics.metadata) == {"samples", "seconds"}
