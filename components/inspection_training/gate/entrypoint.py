"""From a gate's figures to its artifact."""

from cloud.entrypoints.artifacts import MetricsArtifact
from cloud.entrypoints.entrypoint import entrypoint
from components.inspection_training.gate.step import judge_run


@entrypoint
def run_gate(run_id: str, test_data: str, metrics: MetricsArtifact) -> tuple[str, bool]:
    """Judge a run's model and fill the step's artifact.

    Returns:
        Id of the run, and whether the model may be registered and deployed.
    """
    record = judge_run(run_id, test_data)
    figures = {"auroc": record.auroc, "pixel_auroc": record.pixel_auroc, "accuracy": record.accuracy}
    for name, value in (figures | {f"recall_{label}": value for label, value in record.recall.items()}).items():
        if value is not None:
            metrics.log_metric(name, value)
    return run_id, record.passed
