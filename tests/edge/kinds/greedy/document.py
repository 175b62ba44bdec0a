"""What is asked of a kind that would write the manifest itself."""

from typing import ClassVar, Literal

from pydantic import Field

from cloudedge.documents.kinds import Result, Work


class Greedy(Work):
    """How to do it."""

    outputs: ClassVar = frozenset({"manifest"})

    kind: Literal["own"] = Field(default="own", description="Kind of work.")


WORK, RESULT = Greedy, Result
