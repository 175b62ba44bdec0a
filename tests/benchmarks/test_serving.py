"""What the benchmark of serving counts: parts that were judged in time, and by one whole model."""

from pathlib import Path

import numpy as np

from benchmarks.serving_line import FRAME, IMAGES, Line, files, scores, some_images, swaps
from benchmarks.serving_models import write_image_model


def write(folder: Path, versions: int) -> None:
    for number in range(versions):
        path = folder / f"{number}.onnx"
        path.with_suffix(".json").write_bytes(write_image_model(path, number, "oats").to_json())


def test_each_part_beside_swaps_is_judged_by_one_whole_model(tmp_path: Path) -> None:
    write(tmp_path, 3)

    found = swaps(tmp_path, 4)

    assert found["judged by half a model"] == 0
    assert found["swaps"] == 4 + 20
    assert found["parts"] > 0


def test_a_score_that_is_not_the_versions_own_is_counted_and_so_is_what_is_late_or_not_judged() -> None:
    line = Line(lambda image: None, [np.zeros(1)] * IMAGES)
    line.note(0.0, 0.001, 0, ("a", 1.0))
    line.note(1.0, 1.001, 1, ("a", 1.0))  # That of another image.
    line.note(2.0, 2.001 + FRAME, 0, ("b", 3.0))  # After the next part came.
    line.note(3.0, 3.001, 0, None)

    found = line.figures({"a": [1.0, 2.0], "b": [3.0, 4.0]})

    assert (found["parts"], found["dropped"], found["judged by half a model"]) == (4, 2, 1)


def test_versions_answer_differently_and_each_always_the_same(tmp_path: Path) -> None:
    write(tmp_path, 2)
    images = some_images()

    told = [scores(path, deployable, images) for path, deployable in files(tmp_path)]

    assert told == [scores(path, deployable, images) for path, deployable in files(tmp_path)]
    assert not set(told[0]) & set(told[1])
