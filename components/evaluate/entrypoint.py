"""From an evaluation to its artifacts."""

from cloud.entrypoints.artifacts import ConfusionArtifact, MetricsArtifact
from cloud.entrypoints.entrypoint import entrypoint
from cloud.runs.run import Run
from cloud.settings import Settings
from cloudedge.documents import TrainingTask
from components.evaluate.step import evaluate_run


@entrypoint
def run_evaluate(run_id: str, test_data: str, metrics: MetricsArtifact, confusion: ConfusionArtifact) -> tuple[str, bool]:
    """Evaluate a run and fill the step's artifacts.

    Returns:
        Id of the run, and whether the regression gate lets the model pass.
    """
    evaluation = evaluate_run(run_id, test_data)
    gate = evaluation.gate
    if gate and gate.pretrained is not None and gate.fused is not None:
        metrics.log_metric("pretrained_accuracy_on_edges", gate.pretrained)
        metrics.log_metric("fused_accuracy_on_edges", gate.fused)
    for model in evaluation.models:
        if model.round in (0, evaluation.rounds):
            # Without the round's number: Kubeflow compares runs by these names, and they may differ in their rounds.
            name = "fused" if model.round else "pretrained"
            metrics.log_metric(f"{name}_accuracy_on_test", model.scores["all"].accuracy)
    if evaluation.confusion:
        task = Run(Settings().open_store(), run_id).task_for(TrainingTask)
        confusion.log_confusion_matrix(list(task.data.classes), [list(row) for row in evaluation.confusion])
    return run_id, gate is None or gate.passed
