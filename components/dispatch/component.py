"""Dispatch, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def dispatch(run: str, step: str) -> NamedTuple("Outputs", [("run", str), ("orders", int)]):
    """Put one order for each participating edge into its inbox.

    Args:
        run: Id of the run.
        step: Name of the step that the orders are of; of a round, its number.

    Returns:
        Id of the run, and number of edges that take part; 0 if the run does not need the step.
    """
    from components.dispatch.entrypoint import run_dispatch

    return run_dispatch(run, step)
