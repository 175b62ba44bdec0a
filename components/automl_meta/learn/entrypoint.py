"""From what was learned to its artifact."""

from cloud.entrypoints.artifacts import MetricsArtifact
from cloud.entrypoints.entrypoint import entrypoint
from components.automl_meta.learn.step import learn


@entrypoint
def run_learn(run_id: str, metrics: MetricsArtifact) -> tuple[str, bool]:
    """Train a meta model, if one is due, and fill the step's artifact.

    Returns:
        Id of the run, and whether there is a new meta model that passed its gate.
    """
    record = learn(run_id)
    metrics.log_metric("searches", record.searches)
    metrics.log_metric("searches_added", record.added)
    if record.trained:
        for name, judged in (("new", record.trained.judged), ("in_use", record.trained.in_use)):
            if judged:
                metrics.log_metric(f"held_out_nll_{name}", judged.surprise)
        for name, value in record.trained.agreement.items():
            metrics.log_metric(f"agreement_{name}", value)
    return run_id, record.passed
