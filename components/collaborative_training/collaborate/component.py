"""All rounds in one task, as Kubeflow sees them."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def collaborate(fused: dsl.Output[dsl.Model], run: str, cloud_data: str) -> NamedTuple(
    "Outputs", [("run", str), ("rounds", int)]
):
    """Dispatch, wait and fuse, round after round, in this one task.

    Args:
        fused: The last fused model: where it lies in the store, its size and digest.
        run: Id of the run.
        cloud_data: Where the cloud's samples are, for the rule greedy.

    Returns:
        Id of the run, and number of rounds.
    """
    from components.collaborative_training.collaborate.entrypoint import run_collaborate

    return run_collaborate(run, cloud_data, fused)
