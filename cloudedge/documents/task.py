"""What all tasks have in common, whatever system they are for."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, Field, ValidationInfo

from cloudedge.documents.base import Document, each_once
from cloudedge.names import NAME

EdgeName = Annotated[str, Field(pattern=NAME)]
"""Name of an edge that a task names."""

EdgeNames = Annotated[tuple[EdgeName, ...], AfterValidator(each_once)]
"""The edges that a task names, each once."""


def _can_be_met(quorum: int, others: ValidationInfo) -> int:
    edges = others.data.get("edges")
    if edges and quorum > len(edges):
        raise ValueError(f"name more edges, or give at most {len(edges)}, their number")
    return quorum


Quorum = Annotated[int, Field(ge=0), AfterValidator(_can_be_met)]
"""How many of the edges in the field `edges` must deliver; 0: all."""


class Task(Document):
    """What a user asks for."""

    called: ClassVar[str] = "task"
    form_names: ClassVar[Mapping[str, str]] = {"name": "task_name", "id": "task_id", "seed": "random_seed"}

    kind: str = Field(pattern=NAME, description="System that the task is for.")
    name: str = Field(min_length=1, max_length=200, description="What people call the task.")
    id: str = Field(pattern=NAME, description="Id of the task and of its run. The same id again goes on where it was.")


TaskT = TypeVar("TaskT", bound=Task)
