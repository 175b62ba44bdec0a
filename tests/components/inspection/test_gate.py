"""The gate: the file that was delivered judges the test set, and its figures decide what may be registered."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloud.runs.events import events
from cloud.tracking import TrackingLog
from cloudedge.documents.tasks.inspection_training import GateBounds
from cloudedge.errors import InvalidInput, InvalidSamples, NotFound
from components.inspection_training.gate.step import judge_run
from components.inspection_training.records import GateRecord, picture_key
from components.register.step import register_model
from tests.components.inspection.line import Plant, bright_test_set, draw, training_task


def test_the_figures_are_those_of_the_delivered_file(plant: Plant, tmp_path: Path) -> None:
    task = training_task(gate=GateBounds(auroc=0.99))
    plant.trained(task)

    record = judge_run(task.id, str(bright_test_set(tmp_path / "test")))

    assert record.images == {"green": 2, "normal": 4, "red": 4}
    assert record.auroc == 1.0  # Green ones have 50 of 255 red, and normal ones at most 30.
    assert record.accuracy == pytest.approx(0.8)
    assert record.recall == {"normal": 1.0, "red": 1.0, "green": 0.0}
    assert record.named == {"red": 1.0, "green": 0.0}
    assert record.pixel_auroc is None
    assert (record.passed, record.faults) == (True, ())
    (judged,) = [event for _, event in events(plant.store, task.id) if event.action == "judged"]
    assert judged.details["passed"] is True


def test_a_model_below_a_bound_is_refused_and_not_registered(plant: Plant, tmp_path: Path) -> None:
    task = training_task(gate=GateBounds(auroc=0.5, accuracy=0.9, recall=0.5))
    plant.trained(task)

    record = judge_run(task.id, str(bright_test_set(tmp_path / "test")))

    assert record.faults == ("accuracy is 0.800, below 0.9", "recall of green is 0.000, below 0.5")
    assert register_model(task.id) == ""
    assert [event.action for _, event in events(plant.store, task.id)][-1] == "step-done"
    assert "refused" in [event.action for _, event in events(plant.store, task.id)]


def test_without_a_test_set_nothing_passes(plant: Plant) -> None:
    task = training_task()
    plant.trained(task)

    record = judge_run(task.id, "")

    assert not record.passed
    assert (
        "there is no test set: put one into DATA/test, or give it as test_data (cloudedge data put NAME FOLDER)"
        in record.verdict
    )


def test_masks_tell_how_well_places_are_found(plant: Plant, tmp_path: Path) -> None:
    folder = bright_test_set(tmp_path / "test")
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[:8, :8, 0] = 255
    Image.fromarray(pixels).save(folder / "red" / "corner.png")
    (folder / "masks" / "red").mkdir(parents=True)
    Image.fromarray(pixels[:, :, 0]).save(folder / "masks" / "red" / "corner.png")
    task = training_task(gate=GateBounds(auroc=0.0, accuracy=0.0, pixel_auroc=0.9))
    plant.trained(task)

    record = judge_run(task.id, str(folder))

    assert record.pixel_auroc == 1.0
    assert record.passed


def test_a_test_set_may_have_a_folder_for_each_brand(plant: Plant, tmp_path: Path) -> None:
    bright_test_set(tmp_path / "test" / "brick")
    draw(tmp_path / "test" / "gravel" / "normal" / "0.png", red=255)
    task = training_task()
    plant.trained(task)

    assert judge_run(task.id, str(tmp_path / "test")).images == {"green": 2, "normal": 4, "red": 4}


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        (("red",), "has no images of parts that are in order"),
        (("normal",), "has no images of defects"),
        ((), "has no images of parts that are in order"),
    ],
)
def test_a_test_set_that_measures_nothing_is_refused(plant: Plant, tmp_path: Path, labels: tuple[str, ...], fault: str) -> None:
    folder = tmp_path / "test"
    folder.mkdir()
    for label in labels:
        draw(folder / label / "0.png", red=9)
    task = training_task()
    plant.trained(task)

    with pytest.raises(InvalidSamples, match=fault):
        judge_run(task.id, str(folder))


def test_an_image_that_is_none_is_named(plant: Plant, tmp_path: Path) -> None:
    folder = bright_test_set(tmp_path / "test")
    (folder / "red" / "3.png").write_bytes(b"no image")
    task = training_task()
    plant.trained(task)

    with pytest.raises(InvalidSamples, match=r"red/3\.png"):
        judge_run(task.id, str(folder))


def test_a_manifest_about_another_file_is_refused(plant: Plant, tmp_path: Path) -> None:
    task = training_task()
    plant.trained(task)
    (waited,) = plant.run(task).waited("train").delivered  # type: ignore[union-attr]
    key = plant.run(task).output_key(waited, "model")
    with plant.store.local(key) as path:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"!")

    with pytest.raises(InvalidInput, match="not the file that its manifest is about"):
        judge_run(task.id, str(bright_test_set(tmp_path / "test")))


def test_judged_again_it_says_the_same(plant: Plant, tmp_path: Path) -> None:
    task = training_task()
    plant.trained(task)
    first = judge_run(task.id, str(bright_test_set(tmp_path / "test")))

    assert judge_run(task.id, str(tmp_path / "gone")) == first


def test_a_line_that_has_not_delivered_has_no_model_to_judge(plant: Plant) -> None:
    task = training_task()
    plant.begun(task)

    with pytest.raises(NotFound, match="has not delivered a model yet"):
        judge_run(task.id, "")


def test_what_passed_is_registered_as_the_file_that_was_judged(plant: Plant, tmp_path: Path) -> None:
    task = training_task(model_name="brick-inspection")
    plant.trained(task)
    record = judge_run(task.id, str(bright_test_set(tmp_path / "test")))

    assert register_model(task.id) == "brick-inspection"

    registration = TrackingLog(plant.store, task.id).read("register").registration
    assert registration is not None
    assert registration.sha256 == record.sha256
    assert registration.deployable == record.deployable
    assert registration.tags["cloudedge.brand"] == "brick"
    assert [(one.role, one.edge, one.sha256) for one in registration.ancestors] == [("edge", "line-1", record.sha256)]
    assert "| AUROC &emsp;| 10 &emsp;| 1.000 &emsp;| 0.900 |" in registration.description


def test_pictures_of_what_was_judged_wrongly_come_first(plant: Plant, tmp_path: Path) -> None:
    task = training_task()
    plant.trained(task)

    record: GateRecord = judge_run(task.id, str(bright_test_set(tmp_path / "test")))

    assert record.pictures[:2] == ("green/0.png", "green/1.png")
    assert plant.store.get(picture_key(plant.run(task), 0), 1_000_000).startswith(b"\x89PNG")
