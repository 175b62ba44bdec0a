"""From a release to its digest."""

from cloud.entrypoints.entrypoint import entrypoint
from components.inspection_deployment.release.step import release_model


@entrypoint
def run_release(run_id: str) -> tuple[str, str]:
    """Settle what a run deploys.

    Returns:
        Id of the run, and digest of the file that is deployed.
    """
    return run_id, release_model(run_id).deployable.sha256
