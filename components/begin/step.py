"""Beginning: the run of a task is created, and nothing else is done yet."""

from cloud.begin import begin, require_own_run
from cloud.runs.run import Run
from cloud.settings import Settings
from cloud.step import step
from cloudedge.documents import Task


def begin_run(task: Task, kubeflow_run: str = "") -> None:
    """Create the run of a task, or go on with it.

    Args:
        task: What is asked for; its id is the run's.
        kubeflow_run: Kubeflow's id of its run of this pipeline, by which it is found from here; elsewhere anything else.

    Raises:
        Conflict: the id belongs to a run of another task, or to one that is finished.
    """
    # Before the step begins, whose failure would be written into the other task's run.
    require_own_run(Run(Settings().open_store(), task.id), task, kubeflow_run)
    with step(task.id, "begin", begins=True) as work:
        begin(work, task, kubeflow_run)
