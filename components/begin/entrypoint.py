"""From a filled form to a run."""

from typing import Any

from cloud.entrypoints.entrypoint import entrypoint
from cloud.entrypoints.form import form_of
from cloudedge.documents.tasks import task_class
from cloudedge.errors import InvalidInput
from components.begin.step import begin_run


@entrypoint
def run_begin(arguments: dict[str, Any]) -> tuple[str]:
    """Begin what a form asks for, field by field or in one document.

    Args:
        arguments: The component's arguments by name.

    Returns:
        Id of the run, in a tuple.
    """
    document = task_class(arguments["system"])
    if document is None:
        raise InvalidInput(f"There is no system {arguments['system']!r} in this image: install the package that has it there.")
    task = form_of(document).task_from(arguments)
    begin_run(task, arguments["kubeflow_run_id"])
    return (task.id,)
