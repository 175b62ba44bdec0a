"""Fuse, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def fuse(
    fused: dsl.Output[dsl.Model],
    fusion_metrics: dsl.Output[dsl.Metrics],
    run: str,
    round_number: int,
    cloud_data: str,
) -> NamedTuple("Outputs", [("run", str), ("models", int)]):
    """Average what the edges learned in one round.

    Args:
        fused: The fused model: where it lies in the store, its size and digest.
        fusion_metrics: Its accuracy on the cloud's held-out samples, where that is quickly measured, and that of the round's
            base on the edges'; models used and left out, seconds, bytes read.
        run: Id of the run.
        round_number: Round, counted from 1.
        cloud_data: Where the cloud's samples are, to measure models on those held out.

    Returns:
        Id of the run, and number of models in the fused one.
    """
    from components.collaborative_training.fuse.entrypoint import run_fuse

    return run_fuse(run, round_number, cloud_data, fused, fusion_metrics)
