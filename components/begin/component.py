"""Begin, as Kubeflow sees it."""

from typing import NamedTuple

from kfp import dsl

from cloud.image import CLOUD_IMAGE


@dsl.component(base_image=CLOUD_IMAGE, install_kfp_package=False)
def begin(system: str, task: dict, task_id: str, kubeflow_run_id: str) -> NamedTuple("Outputs", [("run", str)]):
    """Create the run.

    Args:
        system: What the task is for.
        task: What is asked for, as in a task's file; an id in it does not count.
        task_id: Id of the task and its run; empty: the Kubeflow run's id.
        kubeflow_run_id: Id of the Kubeflow run.

    Returns:
        Id of the run.
    """
    arguments = dict(locals())
    from components.begin.entrypoint import run_begin

    return run_begin(arguments)
