"""Evaluate, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def evaluate(
    evaluation_metrics: dsl.Output[dsl.Metrics],
    confusion_matrix: dsl.Output[dsl.ClassificationMetrics],
    run: str,
    test_data: str,
) -> NamedTuple("Outputs", [("run", str), ("passed", bool)]):
    """Let the edges judge the model on what they held out, and measure it on the cloud's test data.

    Args:
        evaluation_metrics: Accuracies of the pretrained and the fused model, on the edges' held-out samples and the test data.
        confusion_matrix: Confusion matrix of the final model on the test data.
        run: Id of the run.
        test_data: Where the test data is; empty: none.

    Returns:
        Id of the run, and whether the model may be registered.
    """
    from components.evaluate.entrypoint import run_evaluate

    return run_evaluate(run, test_data, evaluation_metrics, confusion_matrix)
