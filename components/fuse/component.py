"""Fuse, as Kubeflow sees it."""

from kfp import dsl

from components.shared.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def fuse(
    base: dsl.Input[dsl.Model],
    fused: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    run: str,
    round_number: int,
    results: int,
    cloud_data: str,
) -> int:
    """Average what the edges learned in one round.

    Args:
        base: Model that the edges began from.
        fused: The fused model, safetensors.
        metrics: Contributions used and left out, accuracies, seconds, bytes read.
        run: Id of the run.
        round_number: Round, counted from 1.
        results: Number of results that arrived.
        cloud_data: Where the cloud's samples are, for the rule greedy.

    Returns:
        Number of models in the fused one.
    """
    from components.fuse.door import run_fuse

    return run_fuse(run, round_number, cloud_data, fused, metrics)
