"""Gate, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def gate(
    gate_metrics: dsl.Output[dsl.Metrics],
    run: str,
    test_data: str,
) -> NamedTuple("Outputs", [("run", str), ("passed", bool)]):
    """Have the file that will be deployed judge the cloud's test set.

    Args:
        gate_metrics: AUROC, accuracy and recalls.
        run: Id of the run.
        test_data: Where the test set is; empty: none, and the gate refuses.

    Returns:
        Id of the run, and whether the model may be registered and deployed.
    """
    from components.inspection_training.gate.entrypoint import run_gate

    return run_gate(run, test_data, gate_metrics)
