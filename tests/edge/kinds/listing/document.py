"""What is asked of a kind whose outputs are a list."""

from typing import ClassVar

from cloudedge.documents.kinds import Result, Work


class Listing(Work):
    """How to do it."""

    outputs: ClassVar = ["counts"]  # type: ignore[assignment]


WORK, RESULT = Listing, Result
