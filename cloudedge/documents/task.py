"""What all tasks have in common, whatever system they are for."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, TypeVar

from pydantic import Field

from cloudedge.documents.base import Document
from cloudedge.names import NAME

EdgeName = Annotated[str, Field(pattern=NAME)]
"""Name of an edge that a task names."""


class Task(Document):
    """What a user asks for."""

    called: ClassVar[str] = "task"
    form_names: ClassVar[Mapping[str, str]] = {"name": "task_name", "id": "task_id", "seed": "random_seed"}

    kind: str = Field(pattern=NAME, description="System that the task is for.")
    name: str = Field(min_length=1, max_length=200, description="What people call the task.")
    id: str = Field(pattern=NAME, description="Id of the task and of its run. The same id again goes on where it was.")


TaskT = TypeVar("TaskT", bound=Task)
