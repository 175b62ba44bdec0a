"""A small task on real data: scikit-learn's digits, a few for the cloud, some for each edge, some for nobody."""

from pathlib import Path
from typing import Any

import numpy

from cloudedge.documents import Collaboration, DataFormat, ModelSpec, SampleField, Training, TrainingTask
from pipelines.collaborative_training.demo.digits import originals

EDGES = ("edge-1", "edge-2", "edge-3")
DATA = DataFormat(
    storage="npz",
    fields=(SampleField(name="image", shape=(1, 8, 8), dtype="uint8", scale=1 / 16),),
    classes=tuple("0123456789"),
)


def digits_task(task_id: str = "digits", **collaboration: Any) -> TrainingTask:
    """A task that takes a fraction of a second of training."""
    asked: dict[str, Any] = {
        "edges": EDGES,
        "rounds": 2,
        "round_deadline_seconds": 3000,
        "training": Training(epochs=40, batch_size=4, learning_rate=0.02),
    }
    return TrainingTask(
        name="Digits",
        id=task_id,
        model_file_name="tiny-digits.safetensors",
        # Larger than any document of the run, so that a limit on the size of files stops models alone.
        model=ModelSpec(architecture="mlp", parameters={"layers": 1, "width": 200}),
        data=DATA,
        seed=3,
        pretraining=Training(epochs=3, batch_size=8),
        collaboration=Collaboration(**{**asked, **collaboration}),
    )


def write_digits(root: Path) -> None:
    """Lay out cloud/, edges/<edge>/ and test/<environment>/ for the task."""
    images, labels = originals()
    images = images.astype("uint8")[:, numpy.newaxis]

    def write(place: str, first: int, last: int) -> None:
        (root / place).mkdir(parents=True)
        numpy.savez(root / place / "digits.npz", image=images[first:last], label=labels[first:last])

    write("cloud", 0, 60)
    for number, edge in enumerate(EDGES):
        write(f"edges/{edge}", 100 + 120 * number, 220 + 120 * number)
    write("test/clean", 1000, 1100)
    write("test/others", 1100, 1200)
