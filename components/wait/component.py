"""Wait, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def wait(edges_in_step: dsl.Output[dsl.HTML], run: str, step: str) -> NamedTuple("Outputs", [("run", str), ("results", int)]):
    """Wait until enough edges have delivered.

    Args:
        edges_in_step: How each edge fared.
        run: Id of the run.
        step: Name of the step that the orders are of; of a round, its number.

    Returns:
        Id of the run, and number of results.
    """
    from components.wait.entrypoint import run_wait

    return run_wait(run, step, edges_in_step)
