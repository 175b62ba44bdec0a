"""What both pipelines of collaborative training begin and end with."""

from typing import Any

from cloud.gpu import CLOUD_GPU
from cloudedge.documents import Collaboration, DataFormat, ModelSpec, SampleField, Training, TrainingTask
from components.collaborative_training.pretrain.component import pretrain
from components.evaluate.component import evaluate
from components.register.component import register
from components.report.component import report
from pipelines.dag import Filled, FirstStep, show_as

_PRETRAINING_SECONDS = 30 * 24 * 3600

FIRST = FirstStep(
    pretrain,
    example=TrainingTask(
        name="Digits",
        id="digits",
        model_file_name="digits.safetensors",
        model=ModelSpec(architecture="mlp", parameters={"layers": 2, "width": 64}),
        data=DataFormat(
            storage="npz",
            fields=(SampleField(name="image", shape=(1, 8, 8), dtype="uint8", scale=1 / 16),),
            classes=tuple("0123456789"),
        ),
        pretraining=Training(epochs=20),
        collaboration=Collaboration(rounds=3, training=Training(epochs=5)),
    ),
    given=("most_rounds",),
    defaults={"test_data": ""},
)


def begin(filled: Filled, most_rounds: int) -> Any:
    """The pretraining task.

    Args:
        filled: The pipeline's form.
        most_rounds: Rounds that the pipeline has tasks for.
    """
    task = show_as(filled.first_task(most_rounds=most_rounds), "Pretrain", _PRETRAINING_SECONDS)
    return task.set_accelerator_type(CLOUD_GPU).set_accelerator_limit(1) if CLOUD_GPU else task


def conclude(filled: Filled, done: Any) -> None:
    """The tasks that follow the last round.

    Args:
        filled: The pipeline's form.
        done: The task before, which passes on the run's id, so that the graph reads from top to bottom.
    """
    done = show_as(evaluate(run=done.outputs["run"], test_data=filled["test_data"]), "Evaluate")
    done = show_as(register(run=done.outputs["run"], passed=done.outputs["passed"]), "Register")
    show_as(report(run=done.outputs["run"], registered_model=done.outputs["registered_model"]), "Report")
