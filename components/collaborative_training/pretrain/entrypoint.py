"""From a filled form to a pretrained model and its artifacts."""

from typing import Any

from cloud import datasets
from cloud.begin import require_own_run
from cloud.entrypoints.artifacts import ACCURACY_ON_CLOUD, put_model
from cloud.entrypoints.entrypoint import entrypoint
from cloud.entrypoints.form import form_of
from cloud.runs.run import Run
from cloud.settings import Settings
from cloudedge.documents import TrainingTask
from cloudedge.errors import InvalidInput
from components.collaborative_training.pretrain.step import pretrain


@entrypoint
def run_pretrain(arguments: dict[str, Any]) -> tuple[str]:
    """Pretrain what a form asks for, field by field or in one document, and fill the step's artifacts.

    Args:
        arguments: The component's arguments by name.

    Returns:
        Id of the run, in a tuple.
    """
    task = form_of(TrainingTask).task_from(arguments)
    _require_rounds(task, arguments["most_rounds"])
    datasets.require_address("cloud_data", arguments["cloud_data"])
    store = Settings().open_store()
    if arguments["test_data"]:  # It is read last of all.
        datasets.require_samples(store, "test_data", arguments["test_data"])
    require_own_run(Run(store, task.id), task, arguments["kubeflow_run_id"])
    record = pretrain(task, arguments["cloud_data"], arguments["kubeflow_run_id"])
    scores, metrics = record.history[-1].scores, arguments["pretraining_metrics"]
    if scores.samples:
        metrics.log_metric(ACCURACY_ON_CLOUD, scores.accuracy)
        metrics.log_metric("recall_on_cloud", scores.recall)
        metrics.log_metric("loss_on_cloud", scores.loss)
    metrics.log_metric("samples", record.samples)
    metrics.log_metric("seconds", record.seconds)
    put_model(task.id, 0, arguments["pretrained"])
    return (task.id,)


def _require_rounds(task: TrainingTask, most: int) -> None:
    if task.collaborate and task.collaboration.rounds > most:
        raise InvalidInput(
            f"rounds is {task.collaboration.rounds}, but this pipeline has tasks for {most}: ask for fewer, compile the task "
            "(cloudedge compile), or use collaborative_training_compact, which takes any number."
        )
