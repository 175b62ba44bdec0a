"""Dispatch, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def dispatch(run: str, round_number: int) -> NamedTuple("Outputs", [("run", str), ("orders", int)]):
    """Put one order for each participating edge into its inbox.

    Args:
        run: Id of the run.
        round_number: Round, counted from 1.

    Returns:
        Id of the run, and number of edges that take part; 0 if the run needs no further round.
    """
    from components.dispatch.entrypoint import run_dispatch

    return run_dispatch(run, round_number)
