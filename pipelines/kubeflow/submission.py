"""What Kubeflow is asked to run, checked where it costs no pod."""

from typing import Any

from cloud import datasets
from cloud.runs.run import Run
from cloud.runs.state import is_done
from cloudedge.documents import Task
from cloudedge.errors import Conflict, InvalidInput
from cloudedge.names import checked_name
from cloudedge.store import Store
from pipelines.systems import system_of


def submission(task: Task, samples: dict[str, str], store: Store | None) -> tuple[Task, dict[str, Any]]:
    """The task as a pipeline carries it, and what its form asks for beside it.

    Args:
        task: What is asked for.
        samples: Where the cloud's samples are, and then those that nobody trains on, each by what the user calls it; either
            may be empty.
        store: The cluster's; none: it is not known here.

    Raises:
        InvalidInput: the task cannot be run, or samples are named that no step can read.
        NotFound: there are no such samples.
        Conflict: the id belongs to a run of another task, or to one that is over.
    """
    system = system_of(task)
    task = system.form.as_carried(task)
    system.check(task)
    arguments = system.arguments(*samples.values())
    for called, address in samples.items():
        if address:
            _check_dataset(called, address, store)
    if store:
        run = Run(store, task.id)
        run.require_free_for(task)
        state = run.state()
        if state and (state.state == "cancelled" or is_done(run)):
            raise Conflict(
                f"Run {task.id} is {state.state} since {state.at:%Y-%m-%d %H:%M:%S} UTC (cloudedge tasks show {task.id}); "
                "to run the task again, give it another id."
            )
    return task, arguments


def _check_dataset(called: str, address: str, store: Store | None) -> None:
    name = address.removeprefix(datasets.SCHEME)
    if name == address or not name:
        raise InvalidInput(
            f"{called} is {address!r}: a step on the cluster cannot read this machine's folders. Put the samples into the "
            f"cluster's store (cloudedge data put NAME FOLDER) and give {datasets.SCHEME}NAME."
        )
    checked_name(name, "a dataset")
    if store:
        datasets.require(store, name)
