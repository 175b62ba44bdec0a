"""From a filled form to a pretrained model and its artifacts."""

from typing import Any

from cloudedge.errors import InvalidInput
from components.pretrain.parameters import task_of
from components.pretrain.step import pretrain
from components.shared.artifacts import put_model
from components.shared.doors import door


@door
def run_pretrain(parameters: dict[str, Any]) -> str:
    """Pretrain what a form asks for, and fill the step's artifacts.

    Args:
        parameters: The component's arguments by name.

    Returns:
        Id of the run.
    """
    task = task_of({**parameters, "task_id": parameters["task_id"] or parameters["kubeflow_run_id"]})
    most = parameters["most_rounds"]
    if task.collaborate and task.collaboration.rounds > most:
        raise InvalidInput(
            f"rounds is {task.collaboration.rounds}, but this pipeline has tasks for {most}: ask for fewer, compile the task "
            "(cloudedge compile), or use collaborative_training_compact, which takes any number."
        )
    record = pretrain(task, parameters["cloud_data"], parameters["kubeflow_run_id"])
    scores = record.history[-1].scores
    metrics = parameters["metrics"]
    for name, value in (
        ("accuracy", scores.accuracy),
        ("recall", scores.recall),
        ("loss", scores.loss),
        ("samples", record.samples),
        ("seconds", record.seconds),
    ):
        metrics.log_metric(name, value)
    put_model(task.id, 0, parameters["pretrained"])
    return task.id
