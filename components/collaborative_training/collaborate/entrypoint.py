"""From all rounds to their artifact."""

from cloud.entrypoints.artifacts import Artifact, put_model
from cloud.entrypoints.entrypoint import entrypoint
from components.collaborative_training.collaborate.step import collaborate_rounds


@entrypoint
def run_collaborate(run_id: str, cloud_data: str, fused: Artifact) -> tuple[str, int]:
    """Run all rounds and fill the step's artifact.

    Returns:
        Id of the run, and number of rounds.
    """
    rounds = collaborate_rounds(run_id, cloud_data)
    put_model(run_id, rounds, fused)
    return run_id, rounds
