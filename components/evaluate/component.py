"""Evaluate, as Kubeflow sees it."""

from kfp import dsl

from components.shared.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def evaluate(
    model: dsl.Input[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    run: str,
    test_data: str,
) -> bool:
    """Let the edges judge the model on what they held out, and measure it on the cloud's test data.

    Args:
        model: The run's final model.
        metrics: Accuracies of the pretrained and the fused model.
        confusion: Confusion matrix of the final model on the test data.
        run: Id of the run.
        test_data: Where the test data is; empty: none.

    Returns:
        Whether the model may be registered.
    """
    from components.evaluate.door import run_evaluate

    return run_evaluate(run, test_data, metrics, confusion)
