"""A sweep: a task with many values, as a file says it."""

import math
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from cloudedge.documents.base import Document, Part


class Range(Part):
    """Numbers that Optuna draws from: whole ones if its bounds and its step are."""

    called = "range"

    low: int | float = Field(description="The least value.")
    high: int | float = Field(description="The greatest value.")
    step: int | float | None = Field(default=None, gt=0, description="Distance between values; null: any, or 1 of whole ones.")
    log: bool = Field(default=False, description="Whether each order of magnitude is as likely as another.")

    @model_validator(mode="after")
    def _can_be_drawn_from(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"low, {self.low}, is more than high, {self.high}; exchange them")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}, and log needs more than 0; raise it, or leave log out")
        if self.step is not None:
            if self.log:
                raise ValueError("log and step do not go together; leave one out")
            if not _is_whole(self.high, self.low, self.step):
                raise ValueError(
                    f"from low, {self.low}, no number of steps of {self.step} leads to high, {self.high}; correct one"
                )
        return self

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))


def _is_whole(high: float, low: float, step: float) -> bool:
    """Whether steps lead from one number to the other."""
    try:
        steps = (high - low) / step
        return math.isclose(steps, round(steps), abs_tol=1e-9)
    except (OverflowError, ValueError):  # They are farther from each other than any number is from 0.
        return False


def _kind_of_task(value: object) -> str:
    return "fields" if isinstance(value, dict) else "file"


def _kind(value: object) -> str:
    return "range" if isinstance(value, dict | Range) else "list"


# Told apart by what they look like, so that what is wrong is said of what was meant.
TaskOrFile = Annotated[Annotated[str, Tag("file")] | Annotated[dict[str, Any], Tag("fields")], Discriminator(_kind_of_task)]
ListOrRange = Annotated[Annotated[tuple[Any, ...], Tag("list")] | Annotated[Range, Tag("range")], Discriminator(_kind)]


class SweepFile(Document):
    """A task, and the values to try for some of its fields."""

    called = "sweep"

    task: TaskOrFile = Field(description="The task: its file, seen from this one, or all of it.")
    over: dict[str, ListOrRange] = Field(
        min_length=1,
        description="By field, parts of the document joined by dots, the values to try: a list, or a range for Optuna.",
    )
    seeds: int = Field(
        default=1, ge=1, le=1000, description="Number of seeds that each combination is run with, from the task's own on."
    )
    trials: int | None = Field(
        default=None, ge=1, le=100_000, description="Number of combinations that Optuna chooses; null: all of them are run."
    )
    sampler: Literal["tpe", "random"] = Field(
        default="tpe", description="How Optuna chooses: after what was measured (tpe), or blindly (random)."
    )
