"""Accuracies of every candidate, each really trained once for a loss and a seed: what searches are simulated with."""

from typing import Self

from pydantic import Field, model_validator

from cloudedge.documents.automl import Candidate, Loss
from cloudedge.documents.base import Document, Part
from cloudedge.documents.report import Share


class Column(Part):
    """All candidates, trained with the same loss and seed."""

    loss: Loss = Field(description="Loss.")
    seed: int = Field(ge=0, description="Seed of the weights and of the order of the samples.")
    accuracies: tuple[Share, ...] = Field(description="On samples that nobody trained on, in the candidates' order.")


class Table(Document):
    """What candidates reach on one set of samples."""

    samples: str = Field(description="What they are trained on, in words.")
    shape: tuple[int, int, int] = Field(description="Of one sample: channels, height, width.")
    classes: int = Field(ge=2, description="Number of classes.")
    candidates: tuple[tuple[int, int, int, bool], ...] = Field(description="Layers, filters, kernel and growing of each.")
    columns: tuple[Column, ...] = Field(min_length=1, description="A loss and a seed each.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if any(len(column.accuracies) != len(self.candidates) for column in self.columns):
            raise ValueError("a column has not as many accuracies as there are candidates")
        return self

    @property
    def networks(self) -> tuple[Candidate, ...]:
        """The candidates."""
        names = ("layers", "filters", "kernel", "growing")
        return tuple(Candidate.model_validate(dict(zip(names, values, strict=True))) for values in self.candidates)
