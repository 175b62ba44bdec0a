"""From a waited-for round to its artifacts."""

from cloud.entrypoints.artifacts import Artifact, put_page
from cloud.entrypoints.entrypoint import entrypoint
from components.wait.step import wait_round


@entrypoint
def run_wait(run_id: str, round_number: int, page: Artifact) -> tuple[str, int]:
    """Wait for a round and fill the step's page.

    Returns:
        Id of the run, and number of results.
    """
    results, html = wait_round(run_id, round_number)
    put_page(html, page)
    return run_id, results
