"""All rounds in one process: the same steps, without a task each."""

from components.collaborative_training.fuse.step import fuse_round
from components.dispatch.step import dispatch_step
from components.wait.step import wait_step


def collaborate_rounds(run_id: str, cloud_data: str = "") -> int:
    """Dispatch, wait and fuse until the run needs no further round.

    Returns:
        Number of rounds fused.

    Raises:
        QuorumMissed: a round got too few results.
        Cancelled: somebody cancelled the run.
    """
    number = 0
    while dispatch_step(run_id, str(number + 1)):
        number += 1
        wait_step(run_id, str(number))
        fuse_round(run_id, number, cloud_data)
    return number
