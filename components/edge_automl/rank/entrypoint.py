"""From a ranking to its artifact."""

from cloud.entrypoints.artifacts import MetricsArtifact
from cloud.entrypoints.entrypoint import entrypoint
from components.edge_automl.rank.step import figures_of, rank_run


@entrypoint
def run_rank(run_id: str, metrics: MetricsArtifact) -> tuple[str, bool]:
    """Rank a run's models and fill the step's artifact.

    Returns:
        Id of the run, and whether there is a model to be registered.
    """
    ranking = rank_run(run_id)
    for name, value in figures_of(ranking).items():
        metrics.log_metric(name, value)
    return run_id, bool(ranking.best)
