"""From a fused round to its artifacts."""

from cloud.entrypoints.artifacts import ACCURACY_ON_CLOUD, Artifact, MetricsArtifact, put_model
from cloud.entrypoints.entrypoint import entrypoint, in_a_pod
from components.collaborative_training.fuse.step import accuracy_on_cloud, fuse_round


@entrypoint
def run_fuse(run_id: str, round_number: int, cloud_data: str, fused: Artifact, metrics: MetricsArtifact) -> tuple[str, int]:
    """Fuse a round and fill the step's artifacts.

    Returns:
        Id of the run, and number of models in the fused one; 0 if the round was not needed.
    """
    record = fuse_round(run_id, round_number, cloud_data)
    put_model(run_id, round_number, fused)
    if record is None:
        return run_id, 0
    accuracy = accuracy_on_cloud(record, cloud_data) if in_a_pod() else None  # Elsewhere nobody would see it.
    if accuracy is not None:
        metrics.log_metric(ACCURACY_ON_CLOUD, accuracy)
    if record.base_accuracy is not None:
        metrics.log_metric("base_accuracy_on_edges", record.base_accuracy)
    metrics.log_metric("contributions", len(record.contributions))
    metrics.log_metric("left_out", len(record.left_out))
    metrics.log_metric("seconds", record.seconds)
    metrics.log_metric("bytes_read", record.bytes_read)
    return run_id, len(record.contributions)
