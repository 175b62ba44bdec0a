"""From a step that was waited for to its artifacts."""

from cloud.entrypoints.artifacts import Artifact, put_page
from cloud.entrypoints.entrypoint import entrypoint
from components.wait.step import wait_step


@entrypoint
def run_wait(run_id: str, name: str, page: Artifact) -> tuple[str, int]:
    """Wait for a step and fill its page.

    Returns:
        Id of the run, and number of results.
    """
    results, html = wait_step(run_id, name)
    put_page(html, page)
    return run_id, results
