"""From a dispatch to its number of orders."""

from cloud.entrypoints.entrypoint import entrypoint
from components.dispatch.step import dispatch_round


@entrypoint
def run_dispatch(run_id: str, round_number: int) -> tuple[str, int]:
    """Dispatch a round.

    Returns:
        Id of the run, and number of edges that take part.
    """
    return run_id, dispatch_round(run_id, round_number)
