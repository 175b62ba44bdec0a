"""From a dispatch to its number of orders."""

from cloud.entrypoints.entrypoint import entrypoint
from components.dispatch.step import dispatch_step


@entrypoint
def run_dispatch(run_id: str, name: str) -> tuple[str, int]:
    """Dispatch a step.

    Returns:
        Id of the run, and number of edges that take part.
    """
    return run_id, dispatch_step(run_id, name)
