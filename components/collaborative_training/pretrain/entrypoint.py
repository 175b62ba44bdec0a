"""From a filled form to a pretrained model and its artifacts."""

from typing import Any

from cloud import datasets
from cloud.entrypoints.artifacts import ACCURACY_ON_CLOUD, put_model
from cloud.entrypoints.entrypoint import entrypoint
from cloud.runs.run import Run
from cloud.settings import Settings
from cloud.tracking import is_owed
from cloudedge.documents import Task
from cloudedge.errors import Conflict, InvalidInput
from components.collaborative_training.pretrain.parameters import task_of, task_of_document
from components.collaborative_training.pretrain.step import pretrain


@entrypoint
def run_pretrain(parameters: dict[str, Any]) -> tuple[str]:
    """Pretrain what a form asks for, field by field, and fill the step's artifacts.

    Args:
        parameters: The component's arguments by name.

    Returns:
        Id of the run, in a tuple.
    """
    return _pretrain(task_of({**parameters, "task_id": parameters["task_id"] or parameters["kubeflow_run_id"]}), parameters)


@entrypoint
def run_pretrain_document(parameters: dict[str, Any]) -> tuple[str]:
    """Pretrain what a form asks for in one document, and fill the step's artifacts.

    Args:
        parameters: The component's arguments by name.

    Returns:
        Id of the run, in a tuple.
    """
    task = task_of_document(parameters["task"], parameters["task_id"] or parameters["kubeflow_run_id"])
    return _pretrain(task, parameters)


def _pretrain(task: Task, parameters: dict[str, Any]) -> tuple[str]:
    _require_rounds(task, parameters["most_rounds"])
    datasets.require_address("cloud_data", parameters["cloud_data"])
    store = Settings().open_store()
    if parameters["test_data"]:  # It is read last of all.
        datasets.require_samples(store, "test_data", parameters["test_data"])
    _require_own_run(Run(store, task.id), task, parameters["kubeflow_run_id"])
    record = pretrain(task, parameters["cloud_data"], parameters["kubeflow_run_id"])
    scores, metrics = record.history[-1].scores, parameters["pretraining_metrics"]
    if scores.samples:
        metrics.log_metric(ACCURACY_ON_CLOUD, scores.accuracy)
        metrics.log_metric("recall_on_cloud", scores.recall)
        metrics.log_metric("loss_on_cloud", scores.loss)
    metrics.log_metric("samples", record.samples)
    metrics.log_metric("seconds", record.seconds)
    put_model(task.id, 0, parameters["pretrained"])
    return (task.id,)


def _require_rounds(task: Task, most: int) -> None:
    if task.collaborate and task.collaboration.rounds > most:
        raise InvalidInput(
            f"rounds is {task.collaboration.rounds}, but this pipeline has tasks for {most}: ask for fewer, compile the task "
            "(cloudedge compile), or use collaborative_training_compact, which takes any number."
        )


def _require_own_run(run: Run, task: Task, kubeflow_run_id: str) -> None:
    """Make sure that there is something to do under the task's id: a clone of a run repeats it with all other parameters.

    Raises:
        Conflict: the id belongs to a run of another task, or to one that is finished, of which MLflow has all.
    """
    way_out = f"leave task_id empty, and it is a run of its own, {kubeflow_run_id}"
    try:
        run.require_free_for(task)
    except Conflict as error:
        raise Conflict(f"{error} Or {way_out}.") from None
    state = run.state()
    if state and state.state == "finished" and not is_owed(run.store, run.id):
        raise Conflict(
            f"Run {task.id} of this very task is finished since {state.at:%Y-%m-%d %H:%M:%S} UTC. To run it again, {way_out}."
        )
