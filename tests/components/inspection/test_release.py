"""What a deployment names is found, and deployed only if its gate let it pass or a person says so."""

from pathlib import Path

import pytest

from cloud.runs.events import events
from cloudedge.documents import parse
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.kinds.deploy import Deploy, Outcome
from cloudedge.documents.tasks.inspection_deployment import Override
from cloudedge.documents.tasks.inspection_training import GateBounds
from cloudedge.errors import InvalidInput, InvalidModel, NotFound
from cloudedge.names import sha256_of
from components.begin.step import begin_run
from components.dispatch.step import dispatch_step
from components.inspection_deployment.records import manifest_key, model_key
from components.inspection_deployment.release.step import release_model
from components.inspection_training.gate.step import judge_run
from components.report.step import report_run
from tests.components.inspection.line import Plant, bright_test_set, deployment_task, training_task

REFUSED = GateBounds(auroc=0.5, accuracy=0.99)


def judged(plant: Plant, tmp_path: Path, gate: GateBounds | None = None) -> str:
    task = training_task(gate=gate or GateBounds(auroc=0.5))
    plant.trained(task)
    return judge_run(task.id, str(bright_test_set(tmp_path / "test"))).sha256


def test_the_line_gets_the_very_file_that_was_judged(plant: Plant, tmp_path: Path) -> None:
    sha256 = judged(plant, tmp_path)
    task = deployment_task(detectors=("d-1", "d-2"))
    begin_run(task)

    assert release_model(task.id).deployable.sha256 == sha256
    dispatch_step(task.id, "deploy")

    order = next(order for order in plant.inboxes.read("line-1").orders if order.run == task.id)
    assert isinstance(order.work, Deploy)
    assert (order.work.brand, order.work.detectors) == ("brick", ("d-1", "d-2"))
    assert order.inputs["model"].sha256 == sha256
    with plant.store.local(model_key(plant.run(task))) as path:
        assert sha256_of(path) == sha256
    manifest = plant.store.get(manifest_key(plant.run(task)), 100_000)
    assert parse(Deployable, manifest, "manifest").brand == "brick"


def test_a_model_that_its_gate_refused_is_not_deployed(plant: Plant, tmp_path: Path) -> None:
    judged(plant, tmp_path, REFUSED)
    task = deployment_task()
    begin_run(task)

    with pytest.raises(
        InvalidInput, match=r"may not be deployed\. Gate refused: accuracy is 0\.800, below 0\.99.*override\.by"
    ):
        release_model(task.id)

    assert plant.store.stat(model_key(plant.run(task))) is None


def test_a_person_may_override_that_and_the_log_has_name_and_reason(plant: Plant, tmp_path: Path) -> None:
    judged(plant, tmp_path, REFUSED)
    task = deployment_task(override=Override(by="Ada", reason="Green stains are no defects here."))
    begin_run(task)

    release = release_model(task.id)

    assert (release.passed, release.overridden_by) == (False, "Ada")
    (said,) = [event.details for _, event in events(plant.store, task.id) if event.action == "overridden"]
    assert (said["by"], said["reason"]) == ("Ada", "Green stains are no defects here.")


def test_a_model_that_was_not_judged_is_not_deployed(plant: Plant) -> None:
    plant.trained(training_task())
    task = deployment_task()
    begin_run(task)

    with pytest.raises(NotFound, match="brick-1 was not judged yet"):
        release_model(task.id)


def test_a_model_for_another_brand_is_not_deployed(plant: Plant, tmp_path: Path) -> None:
    judged(plant, tmp_path)
    task = deployment_task(brand="gravel")
    begin_run(task)

    with pytest.raises(InvalidInput, match="was trained and judged for the brand brick, and brand is gravel"):
        release_model(task.id)


def test_a_model_that_was_altered_since_is_not_deployed(plant: Plant, tmp_path: Path) -> None:
    judged(plant, tmp_path)
    task = deployment_task()
    begin_run(task)
    run = plant.run(training_task())
    waited = run.waited("train")
    assert waited is not None
    with plant.store.local(run.output_key(waited.delivered[0], "model")) as path:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes() + b"!")

    with pytest.raises(InvalidModel, match="was altered in the store"):
        release_model(task.id)


def test_a_name_that_is_nothing_is_said_to_be_nothing(plant: Plant) -> None:
    task = deployment_task(model="nothing")
    begin_run(task)

    with pytest.raises(NotFound, match="There is no run 'nothing', and no MLflow is named"):
        release_model(task.id)


def test_the_report_tells_what_became_of_each_detector(plant: Plant, tmp_path: Path) -> None:
    judged(plant, tmp_path)
    task = deployment_task()
    begin_run(task)
    release_model(task.id)
    plant.deployed(
        task,
        {
            "d-1": Outcome(
                state="serving", transfer_seconds=0.5, load_seconds=0.2, swap_gap_ms=3.4, images=100, reject_rate=0.02
            ),
            "d-2": Outcome(state="rolled-back", reason="It rejected 0.9 of 100 parts, and 0.5 are its bound."),
        },
    )

    page = report_run(task.id)

    assert "1 of 2 detectors on line-1 judges brick by the model." in page
    assert "It rejected 0.9 of 100 parts, and 0.5 are its bound." in page
    assert "3.4 ms" in page


def test_an_unknown_step_is_named(plant: Plant) -> None:
    task = deployment_task()
    begin_run(task)

    with pytest.raises(InvalidInput, match="There is no step 'train': give 'deploy'"):
        dispatch_step(task.id, "train")
