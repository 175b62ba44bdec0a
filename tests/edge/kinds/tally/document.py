"""What is asked of counting, and what comes of it."""

from typing import ClassVar, Literal

from pydantic import Field

from cloudedge.documents.kinds import Result, Work
from cloudedge.documents.report import Count


class Tally(Work):
    """How to count the words of the file 'text'."""

    inputs: ClassVar = frozenset({"text"})
    outputs: ClassVar = frozenset({"counts", "longest"})

    kind: Literal["tally"] = Field(default="tally", description="Kind of work.")
    hold: str = Field(default="", description="File that is waited for once half of the lines are counted; empty: none.")
    claimed: str = Field(default="", description="Phase that the work says its order is in; empty: it does what is right.")
    file_name: str = Field(
        default="counts.json", description="Name of the file of the output 'counts', in its place or beside it."
    )
    left_out: bool = Field(default=False, description="Whether the output 'longest' is not delivered.")
    refused: str = Field(default="", description="Word that ends the work in a failure; empty: none.")


class Tallied(Result):
    """What counting came to."""

    kind: Literal["tally"] = Field(default="tally", description="Kind of work.")
    lines: Count = Field(description="Lines counted.")
    words: Count = Field(description="Words counted.")


WORK, RESULT = Tally, Tallied
