"""Wait, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def wait(edges_in_round: dsl.Output[dsl.HTML], run: str, round_number: int) -> NamedTuple(
    "Outputs", [("run", str), ("results", int)]
):
    """Wait until enough edges have delivered.

    Args:
        edges_in_round: How each edge fared.
        run: Id of the run.
        round_number: Round, counted from 1.

    Returns:
        Id of the run, and number of results.
    """
    from components.wait.entrypoint import run_wait

    return run_wait(run, round_number, edges_in_round)
