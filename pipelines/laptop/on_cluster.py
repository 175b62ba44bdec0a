"""A task on a cluster whose pipeline this machine runs: store, inboxes, edges and MLflow are the cluster's, without Kubeflow.

The steps are the same, and so are the bytes.
"""

import time
from collections.abc import Callable
from pathlib import Path

from cloud.entrypoints.carried import require_carried
from cloud.runs.run import Run
from cloud.tracking import is_owed
from cloudedge.documents import Task
from cloudedge.files import disk_errors
from components.collaborative_training.pretrain.parameters import parameters_of, task_of
from pipelines.commands.target import Target
from pipelines.laptop.engine import pipeline_at_work, shape_of

_LOOK_SECONDS = 0.5


def run_here(
    task: Task,
    cloud_data: str,
    test_data: str,
    target: Target,
    folder: Path,
    watch: Callable[[Run], None],
    compact: bool | None = None,
) -> Run:
    """Run a task with the cluster that the environment names, or go on with it where it was.

    Args:
        task: What is asked for.
        cloud_data: Where the cloud's samples are: store:NAME, or the absolute path of a folder of this machine.
        test_data: Where samples are that nobody trains on, or an empty text.
        target: The cluster.
        folder: Where this machine keeps logs and what passes.
        watch: Called again and again meanwhile, to show what happens.
        compact: Whether all rounds are one task; none: beyond ten rounds.

    Returns:
        The finished run.

    Raises:
        CloudedgeError: what made the run fail, with its exit code.
    """
    task = task_of(parameters_of(task))  # As the pipeline's form will give it back.
    paths = {"cloud_data": cloud_data, "test_data": test_data, "folder": str(folder.absolute())}
    require_carried("A path", paths, here=True)
    run = Run(target.store, task.id)
    run.require_free_for(task)
    state = run.state()
    if state and state.state == "finished" and not is_owed(target.store, run.id):
        watch(run)
        return run
    logs = folder / "logs" / task.id
    with disk_errors(logs):
        logs.mkdir(parents=True, exist_ok=True)
    root = folder / "pipelines" / task.id
    with pipeline_at_work(task, cloud_data, test_data, shape_of(task, compact), run, logs, root, {}) as pipeline:
        while not pipeline.over():
            watch(run)
            time.sleep(_LOOK_SECONDS)
    watch(run)
    return run
