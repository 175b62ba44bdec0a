"""Rank, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def rank(rank_metrics: dsl.Output[dsl.Metrics], run: str) -> NamedTuple("Outputs", [("run", str), ("found", bool)]):
    """Compare what the devices' searches found.

    Args:
        rank_metrics: Accuracy and costs of each device's model.
        run: Id of the run.

    Returns:
        Id of the run, and whether there is a model to be registered.
    """
    from components.edge_automl.rank.entrypoint import run_rank

    return run_rank(run, rank_metrics)
