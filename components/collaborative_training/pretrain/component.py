"""The pipeline's first step, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def pretrain(
    pretrained: dsl.Output[dsl.Model],
    pretraining_metrics: dsl.Output[dsl.Metrics],
    task: dict,
    task_id: str,
    cloud_data: str,
    test_data: str,
    kubeflow_run_id: str,
    most_rounds: int,
) -> NamedTuple("Outputs", [("run", str)]):
    """Create the run and train the pretrained model on the cloud's own samples.

    Args:
        pretrained: The pretrained model: where it lies in the store, its size and digest.
        pretraining_metrics: Accuracy, recall and loss on the cloud's held-out samples, number of samples, seconds.
        task: What is asked for, as in a task's file; an id in it does not count.
        task_id: Id of the task and its run; empty: the Kubeflow run's id.
        cloud_data: Where the cloud's samples are, store:NAME.
        test_data: Where samples are that nobody trains on, store:NAME, to know early that they are there; empty: none.
        kubeflow_run_id: Id of the Kubeflow run.
        most_rounds: Rounds that this pipeline has tasks for.

    Returns:
        Id of the run.
    """
    arguments = dict(locals())
    from components.collaborative_training.pretrain.entrypoint import run_pretrain

    return run_pretrain(arguments)
