"""Learn, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def learn(learning_metrics: dsl.Output[dsl.Metrics], run: str) -> NamedTuple("Outputs", [("run", str), ("passed", bool)]):
    """Train a meta model on the searches that happened, if enough were added since the last one was trained.

    Args:
        learning_metrics: Searches, and how well held-out ones are foretold by the new meta model and by the one in use.
        run: Id of the run.

    Returns:
        Id of the run, and whether there is a new meta model that passed its gate.
    """
    from components.automl_meta.learn.entrypoint import run_learn

    return run_learn(run, learning_metrics)
