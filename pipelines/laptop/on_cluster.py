"""A task on a cluster whose pipeline this machine runs: store, inboxes, edges and MLflow are the cluster's, without Kubeflow.

The steps are the same, and so are the bytes.
"""

from collections.abc import Generator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from cloud.entrypoints.carried import require_carried
from cloud.runs.run import Run
from cloud.runs.state import is_done
from cloudedge.documents import Task
from cloudedge.files import disk_errors
from pipelines.laptop.engine import Engine, engine_command, pipeline_at_work
from pipelines.systems import system_of
from pipelines.target import Target


def worked_here(
    task: Task,
    cloud_data: str,
    test_data: str,
    target: Target,
    folder: Path,
    compact: bool | None = None,
    variables: Mapping[str, str] | None = None,
) -> Generator[Run, None, None]:
    """Work on a task with a cluster, or go on with it where it was; several can be worked on in turns.

    Args:
        task: What is asked for.
        cloud_data: Where the cloud's samples are: store:NAME, or the absolute path of a folder of this machine.
        test_data: Where samples are that nobody trains on, or an empty text.
        target: The cluster.
        folder: Where this machine keeps logs and what passes.
        compact: Whether the pipeline has as few tasks as it can; none: as suits this machine.
        variables: What names the cluster to the steps, where it is not the environment that does.

    Yields:
        The run, at each look. Closed before its end, its pipeline ends.

    Raises:
        CloudedgeError: what made the run fail, with its exit code.
    """
    system = system_of(task)
    task = system.form.as_carried(task)
    arguments = system.arguments(cloud_data, test_data)
    require_carried("A path", {**arguments, "folder": str(folder.absolute())}, here=True)
    run = Run(target.store, task.id)
    run.require_free_for(task)
    if is_done(run):
        yield run
        return
    logs = folder / "logs" / task.id
    with disk_errors(logs):
        logs.mkdir(parents=True, exist_ok=True)
    root = folder / "pipelines" / task.id
    with TemporaryDirectory(prefix="cloudedge-") as temporary:
        engine = Engine(engine_command(system.modules), Path(temporary))
        try:
            with pipeline_at_work(engine, task, arguments, compact, run, logs, root, variables or {}) as pipeline:
                while not pipeline.over():
                    yield run
        finally:
            engine.end()
    yield run
